"""The ground floor: knows no method, no paper."""
