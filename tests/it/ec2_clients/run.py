"""Makes the calls of calls.json through boto3 or through the AWS CLI and prints what each ends with.

One JSON line for each call: {"answer": …} or {"error": code, "message": text}. Both clients must print
the same. With boto3 every element of every answer must also be one that botocore's model of the service
knows: its parser ignores others in silence.
"""

import contextlib
import functools
import io
import json
import re
import sys
import urllib.request
import xml.etree.ElementTree as ElementTree
from datetime import timezone
from pathlib import Path

import boto3
from awscli.clidriver import create_clidriver
from botocore import xform_name
from botocore.exceptions import ClientError


class Boto3:
    def __init__(self, endpoint):
        self.endpoint = endpoint

    def call(self, service, operation, parameters, page_size):
        client = boto3.client(service, endpoint_url=self.endpoint)
        model = client.meta.service_model.operation_model(operation)

        def check(response_dict, **_):
            if response_dict["status_code"] == 200:
                unknown_elements(ElementTree.fromstring(response_dict["body"]), model.output_shape)

        client.meta.events.register("before-parse.*.*", check)
        name = xform_name(operation)
        if page_size:
            pages = client.get_paginator(name).paginate(**parameters, PaginationConfig={"PageSize": page_size})
            answer = pages.build_full_result()
        else:
            answer = getattr(client, name)(**parameters)
        answer.pop("ResponseMetadata", None)
        return json.loads(json.dumps(answer, default=in_utc))


class Cli:
    def __init__(self, endpoint):
        # The whole AWS CLI, but without a new interpreter for each call. Commands leave hooks behind that
        # disturb others, so each has a driver of its own.
        self.driver = functools.cache(lambda operation: create_clidriver())
        self.options = ["--endpoint-url", endpoint, "--output", "json"]

    def call(self, service, operation, parameters, page_size):
        paging = ["--page-size", str(page_size)] if page_size else []
        raw = [] if page_size else ["--no-paginate"]
        command = [service, xform_name(operation, "-"), *paging, "--cli-input-json", json.dumps(parameters)]
        told, complaint = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(complaint):
            code = self.driver(operation).main([*self.options, *raw, *command])
        if code == 0:
            return json.loads(told.getvalue() or "{}")
        refusal = re.search(r"An error occurred \(([^)]+)\) when calling the \w+ operation[^:]*(?:: \d+\))?: (.*)", complaint.getvalue())
        if not refusal:
            sys.exit(f"{' '.join(command)}: {complaint.getvalue()[-2000:]}")
        raise ClientError({"Error": {"Code": refusal[1], "Message": refusal[2].strip()}}, operation)


def in_utc(moment):
    """A moment as EC2 writes it and the CLI shows it."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def unknown_elements(element, shape):
    """Ends the run at an element that the model does not know, or that stands in the wrong place."""
    if shape is None or shape.type_name not in ("structure", "list"):
        return
    if shape.type_name == "list":
        for item in element:
            unknown_elements(item, shape.member)
        return
    members = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    for child in element:
        tag = child.tag.split("}")[-1]
        if tag == f"{shape.name}":
            return unknown_elements(child, shape)
        if tag in ("requestId", "ResponseMetadata"):
            continue
        if tag.endswith("Result"):
            return unknown_elements(child, shape)
        if tag not in members:
            sys.exit(f"{shape.name} has no element {tag}: one of {', '.join(sorted(members))}")
        unknown_elements(child, members[tag])


def filled(value, answers):
    """Replaces "$name.Path.0.To" by what the call of that name was answered."""
    if isinstance(value, dict):
        return {key: filled(each, answers) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, answers) for each in value]
    if isinstance(value, str) and value.startswith("$"):
        name, *path = value[1:].split(".")
        found = answers[name]
        for step in path:
            found = found[int(step)] if step.isdigit() else found[step]
        return found
    return value


def main():
    kind, endpoint = sys.argv[1:]
    client = {"boto3": Boto3, "cli": Cli}[kind](endpoint)
    answers = {}
    for step in json.loads(Path(__file__).with_name("calls.json").read_text()):
        if "advance_ms" in step:
            body = json.dumps({"ms": step["advance_ms"]}).encode()
            urllib.request.urlopen(f"{endpoint}/_control/clock/advance", body).close()
            continue
        parameters = filled(step.get("parameters", {}), answers)
        try:
            answer = client.call(step.get("service", "ec2"), step["call"], parameters, step.get("page_size"))
            answers[step.get("as")] = answer
            print(json.dumps({"call": step["call"], "answer": answer}, sort_keys=True))
        except ClientError as refusal:
            error = refusal.response["Error"]
            print(json.dumps({"call": step["call"], "error": error["Code"], "message": error["Message"]}))


main()
