"""operator_schemas.py FOLDER FILE…: the objects in the files are such as the Prometheus operator takes. Its CRDs come with its Go module and are kept in FOLDER.

Strict: an API server drops a field that the schema does not name, here it is a complaint. Run by check/manifests_schemas, whose Python has yaml and jsonschema.
Exit status 77: the CRDs cannot be had.
"""
import http.client
import io
import os
import pathlib
import re
import sys
import urllib.request
import zipfile

import jsonschema
import yaml

MODULE, VERSION = "github.com/prometheus-operator/prometheus-operator", "v0.85.0"
CRDS = re.compile(r".*/example/prometheus-operator-crd/monitoring\.coreos\.com_(servicemonitors|prometheusrules)\.yaml")


def fetch(folder):
    proxy = re.split("[,|]", os.environ.get("GOPROXY") or "https://proxy.golang.org")[0]
    with urllib.request.urlopen(f"{proxy}/{MODULE}/@v/{VERSION}.zip", timeout=20) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    folder.mkdir(parents=True, exist_ok=True)
    for name in filter(CRDS.fullmatch, archive.namelist()):
        (folder / pathlib.Path(name).name).write_bytes(archive.read(name))
    (folder / "done").touch()


def strict(schema):
    """The schema, with nothing allowed that it does not name."""
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
        for part in schema.values():
            strict(part)
    elif isinstance(schema, list):
        for part in schema:
            strict(part)
    return schema


def read_schemas(folder):
    """By kind and version: "monitoring.coreos.com/v1 ServiceMonitor"."""
    schemas = {}
    for path in folder.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
            schemas[f"{spec['group']}/{version['name']} {spec['names']['kind']}"] = strict(schema)
    return schemas


def main():
    folder, paths = pathlib.Path(sys.argv[1]) / VERSION, sys.argv[2:]
    if not (folder / "done").exists():
        try:
            fetch(folder)
        except (OSError, ValueError, http.client.HTTPException, zipfile.BadZipFile) as error:
            print(f"the CRDs of the Prometheus operator {VERSION} cannot be had: {error}")
            return 77
    schemas, count, wrong = read_schemas(folder), 0, 0
    for path in paths:
        for thing in yaml.safe_load_all(pathlib.Path(path).read_text()):
            schema = schemas.get(f"{thing['apiVersion']} {thing['kind']}")
            if not schema:
                continue
            count += 1
            for error in jsonschema.Draft202012Validator(schema).iter_errors(thing):
                wrong += 1
                print(f"{path}: {thing['kind']} {thing['metadata'].get('name')}, {'.'.join(map(str, error.path))}: {error.message}")
    if count == 0:
        wrong += 1
        print(f"none of {' '.join(paths)} is an object of the Prometheus operator")
    print(f"{count} objects of the Prometheus operator {VERSION}")
    return 1 if wrong else 0


sys.exit(main())
