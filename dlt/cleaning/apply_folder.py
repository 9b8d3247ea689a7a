"""A folder of class folders: files move to the folder of their new class."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePath

from dlt.cleaning.apply_source import DATA, DROPPED, Source
from dlt.cleaning.decisions import Decision, shown
from dlt.harness.errors import InputError


@dataclass(frozen=True, eq=False)
class Folder(Source):
    """`files` are the paths below the folder of the N labelled files, `others` those that are merely copied."""

    files: list[PurePath]
    others: list[PurePath]
    folders: list[PurePath]

    def write(self, folder: Path, decided: dict[str, Decision]) -> dict[str, dict]:
        names = {shown(str(place)): place for place in self.folders if len(place.parts) == 1}
        stay = [file for name, file in zip(self.ids, self.files, strict=True) if name not in decided]
        free = _FreeNames([*stay, *self.others], self.folders)
        for place in self.folders:
            (folder / DATA / place).mkdir(parents=True, exist_ok=True)
        for file in (*stay, *self.others):
            _copy(self.path / file, folder / DATA / file)
        moved = {}
        for name, file in zip(self.ids, self.files, strict=True):
            if name not in decided:
                continue
            if decided[name].decision == "drop":
                place = DROPPED / file
            else:
                place = DATA / free.take(names[decided[name].new], file)
            _copy(self.path / file, folder / place)
            moved[name] = {"place": str(place), "original": str(file)}
        return moved

    @classmethod
    def restore(cls, copy: Path, changes: list[dict], output: Path, about: dict) -> None:
        home = {PurePath(row["place"]): PurePath(row["original"]) for row in changes}
        if strange := [path for path in (*home, *home.values()) if path.is_absolute() or ".." in path.parts]:
            raise InputError(f"copy: changes.csv in {copy} names {strange[0]}, which is not in it")
        _, files, folders = _walk(copy / DATA)
        for place in folders:
            (output / place).mkdir(parents=True, exist_ok=True)
        for file in [*(DATA / file for file in files), *(place for place in home if place.parts[0] == DROPPED)]:
            _copy(copy / file, output / home.get(file, PurePath(*file.parts[1:])))


class _FreeNames:
    """Names for files that come into a folder, none of them there already, in capitals or not."""

    def __init__(self, files: list[PurePath], folders: list[PurePath]):
        self._files = {str(file).casefold() for file in files}
        self._folders = {str(folder).casefold() for folder in folders}

    def take(self, label: PurePath, file: PurePath) -> PurePath:
        """The file's name below the folder `label`, with a number where it is taken."""
        target = label.joinpath(*file.parts[1:])
        if any(str(parent).casefold() in self._files for parent in target.parents):
            target = label / file.name  # a file has the name of the folder in between
        name, number = target, 1
        while (taken := str(name).casefold()) in self._files or taken in self._folders:
            number += 1
            name = target.with_name(f"{target.stem}-{number}{target.suffix}")
        self._files.add(str(name).casefold())
        self._folders |= {str(parent).casefold() for parent in name.parents}
        return name


def open_folder(root: Path) -> Folder:
    """Every file in a class folder is labelled, whatever it is, but not the hidden ones and dead links. InputError."""
    files, every, folders = _walk(root)
    if not files:
        raise InputError(f"source: {root} has no files in folders; expected {root.name}/<class>/<file>")
    labelled = set(files)
    ids = [shown(file.as_posix()) for file in files]
    return Folder(
        root,
        ids,
        [shown(file.parts[0]) for file in files],
        [shown(folder.name) for folder in folders if len(folder.parts) == 1 and not folder.name.startswith(".")],
        sorted([name, (root / file).stat().st_size] for name, file in zip(ids, files, strict=True)),
        files,
        [file for file in every if file not in labelled],
        folders,
    )


def _walk(root: Path) -> tuple[list[PurePath], list[PurePath], list[PurePath]]:
    """Below `root`, sorted: the labelled files, all files, all folders. A class folder may be a link."""
    every, folders = [], []
    tops = sorted(root.iterdir())
    every += [PurePath(top.name) for top in tops if not top.is_dir()]
    for top in tops:
        for place, inner, names in os.walk(top):
            here = PurePath(place).relative_to(root)
            folders.append(here)
            links = [name for name in inner if Path(place, name).is_symlink()]  # of folders: copied as links
            every += [here / name for name in [*names, *links]]
    every.sort()
    files = [file for file in every if len(file.parts) > 1 and _is_labelled(root, file)]
    return files, every, sorted(folders)


def _is_labelled(root: Path, file: PurePath) -> bool:
    return (root / file).is_file() and not any(part.startswith(".") for part in file.parts)


def _copy(file: Path, target: Path) -> None:
    """The file, with its times, where a link leads; a link to a folder, or that leads nowhere, as a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, target, follow_symlinks=file.is_file())
