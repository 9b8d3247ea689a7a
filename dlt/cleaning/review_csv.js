"use strict";

// Rows of texts as a CSV file for spreadsheets, as dlt/cleaning/decisions.py reads it. A text that a spreadsheet would
// take for a formula gets an apostrophe before it.
function csvText(rows) {
  const field = text => `"${text.replace(/^(?='*[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`;
  return "\ufeff" + rows.map(row => row.map(field).join(",") + "\r\n").join("");
}

// The rows of a CSV file; a spreadsheet may have saved it with semicolons or tabs.
function csvRows(text) {
  text = text.replace(/^\ufeff/, "");
  const first = text.split("\n", 1)[0];
  const delimiter = [",", ";", "\t"].reduce((a, b) => (first.split(b).length > first.split(a).length ? b : a));
  const token = new RegExp(`(?:"((?:[^"]|"")*)"|([^${delimiter}\\r\\n]*))(${delimiter}|\\r\\n|\\r|\\n|$)`, "y");
  const rows = [];
  let row = [];
  while (token.lastIndex < text.length || row.length) {
    const found = token.exec(text);
    if (!found) throw new Error(`line ${rows.length + 1} has a quote that does not close`);
    const value = found[1] === undefined ? found[2] : found[1].replaceAll('""', '"');
    row.push(value.replace(/^'(?='*[=+\-@\t\r])/, ""));
    if (found[3] === delimiter) continue;
    if (row.some(text => text)) rows.push(row);
    row = [];
    if (token.lastIndex >= text.length) break;
  }
  return rows;
}
