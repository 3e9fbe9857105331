#!/usr/bin/env python3
"""Prints what AWS's own service models demand of the requests that the model of AWS knows: `service-models.py > service-models.json`.

The models are those of the installed botocore, which is pinned in `tests/support/requirements.txt`. Kept are the members,
where they stand in a request, and their rules: required, length, range, pattern, values.
"""

import json
import re

import botocore
from botocore.loaders import Loader

OPERATIONS = {
    "apigatewayv2": """
        CreateApi GetApi GetApis UpdateApi DeleteApi
        CreateIntegration GetIntegration GetIntegrations UpdateIntegration DeleteIntegration
        CreateIntegrationResponse GetIntegrationResponses DeleteIntegrationResponse
        CreateModel GetModels UpdateModel DeleteModel
        CreateRoute GetRoute GetRoutes UpdateRoute DeleteRoute
        CreateRouteResponse GetRouteResponses DeleteRouteResponse
        CreateDeployment GetDeployment GetDeployments UpdateDeployment DeleteDeployment
        CreateStage GetStage GetStages UpdateStage DeleteStage DeleteRouteSettings
        CreateAuthorizer GetAuthorizer GetAuthorizers UpdateAuthorizer DeleteAuthorizer
        TagResource UntagResource GetTags""",
    "cloudwatch": "PutMetricAlarm DescribeAlarms DeleteAlarms TagResource UntagResource ListTagsForResource",
    "dynamodb": """
        CreateTable DescribeTable UpdateTable DeleteTable ListTables UpdateTimeToLive DescribeTimeToLive
        TagResource UntagResource ListTagsOfResource""",
    "iam": """
        CreateRole GetRole DeleteRole UpdateRole UpdateAssumeRolePolicy ListRoles TagRole UntagRole ListRoleTags
        PutRolePermissionsBoundary DeleteRolePermissionsBoundary
        PutRolePolicy GetRolePolicy DeleteRolePolicy ListRolePolicies
        AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies
        ListInstanceProfilesForRole""",
    "lambda": """
        CreateFunction GetFunction GetFunctionConfiguration ListFunctions DeleteFunction
        UpdateFunctionCode UpdateFunctionConfiguration PutFunctionConcurrency DeleteFunctionConcurrency
        AddPermission RemovePermission GetPolicy ListTags TagResource UntagResource
        CreateEventSourceMapping ListEventSourceMappings UpdateEventSourceMapping DeleteEventSourceMapping""",
    "logs": """
        CreateLogGroup DescribeLogGroups DeleteLogGroup PutRetentionPolicy DeleteRetentionPolicy FilterLogEvents
        TagResource UntagResource ListTagsForResource""",
    "sqs": """
        CreateQueue GetQueueUrl GetQueueAttributes SetQueueAttributes DeleteQueue
        TagQueue UntagQueue ListQueueTags ReceiveMessage SendMessage DeleteMessage""",
    "sts": "GetCallerIdentity",
}
# API Gateway's limits stand in the names of its shapes alone.
LIMITS_IN_NAME = re.compile(r"(String|Uri)WithLengthBetween(\d+)And(\d+)(K?)$")


def rules(shapes, name):
    shape = shapes[name]
    kept = {key: shape[key] for key in ("type", "required", "min", "max", "pattern", "enum") if shape.get(key)}
    if name == "Runtime":
        # Users choose it, and there is a new one each year.
        del kept["enum"]
    if limits := LIMITS_IN_NAME.match(name):
        _, least, most, unit = limits.groups()
        kept |= {"min": int(least), "max": int(most) * (1024 if unit else 1)}
    for part in ("member", "key", "value"):
        if part in shape:
            kept[part] = shape[part]["shape"]
    if "members" in shape:
        members = shape["members"].items()
        kept["members"] = {member: place(ref) for member, ref in members}
    return kept


def place(ref):
    """Where a member stands, and what it is."""
    keys = {"shape": "shape", "location": "in", "locationName": "as"}
    return {short: ref[key] for key, short in keys.items() if key in ref}


def reached(shapes, name, into):
    if name not in into:
        into[name] = rules(shapes, name)
        for part in ("member", "key", "value"):
            if part in shapes[name]:
                reached(shapes, shapes[name][part]["shape"], into)
        for ref in shapes[name].get("members", {}).values():
            reached(shapes, ref["shape"], into)


def service(name):
    model = Loader().load_service_model(name, "service-2")
    operations, shapes = {}, {}
    for operation in OPERATIONS[name].split():
        known = model["operations"][operation]
        operations[operation] = {"uri": known["http"]["requestUri"]}
        if "input" in known:
            operations[operation]["input"] = known["input"]["shape"]
            reached(model["shapes"], known["input"]["shape"], shapes)
    return {"operations": operations, "shapes": dict(sorted(shapes.items()))}


def main():
    text = {
        "source": f"the service models of botocore {botocore.__version__}, shortened by service-models.py",
        "licence": "Apache-2.0. Botocore, Copyright 2012-2022 Amazon.com, Inc. or its affiliates. All Rights Reserved.",
        "services": {name: service(name) for name in OPERATIONS},
    }
    # A line a shape: a new version of botocore can be read as a difference.
    lines = json.dumps(text, indent=1).splitlines()
    print("\n".join(fold(lines)))


def fold(lines, depth=4):
    """Joins the lines that are indented by more than `depth`."""
    out = []
    for line in lines:
        deep = len(line) - len(line.lstrip())
        closes = deep == depth and line.lstrip()[0] in "]}"
        if out and (deep > depth or closes):
            out[-1] += (" " if out[-1].endswith(",") else "") + line.lstrip()
        else:
            out.append(line)
    return out


main()
