"""Validates what `flatscape report` writes: .json by the project's schema, .sarif by that of SARIF 2.1.0, .xml by that of JUnit.

    validate.py FILE...

Prints what is wrong, one line each, and exits with 1 if anything is.
"""

import json
import sys
from pathlib import Path

import jsonschema
import xmlschema

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[2] / "reports" / "schema" / "results.schema.json"
SARIF = HERE / "sarif-2.1.0.schema.json"
JUNIT = HERE / "junit-10.xsd"


def by_json_schema(schema, file):
    """What is wrong with a JSON file; NaN and Infinity are no JSON."""
    schema = json.loads(schema.read_text())
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)

    def no_json(token):
        raise ValueError(f"{token} is no JSON")

    try:
        document = json.loads(file.read_text(encoding="utf-8"), parse_constant=no_json)
    except ValueError as why:
        return [str(why)]
    errors = validator(schema).iter_errors(document)
    return [f"/{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]


def by_xml_schema(file):
    """What is wrong with an XML file."""
    try:
        return [f"{error.path}: {error.reason}" for error in xmlschema.XMLSchema(JUNIT).iter_errors(str(file))]
    except Exception as why:  # not well-formed
        return [str(why)]


def main():
    wrong = 0
    for file in map(Path, sys.argv[1:]):
        if file.suffix == ".xml":
            errors = by_xml_schema(file)
        else:
            errors = by_json_schema(SARIF if file.suffix == ".sarif" else RESULTS, file)
        for error in errors:
            wrong += 1
            print(f"{file.name}: {error}")
    return 1 if wrong or len(sys.argv) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
