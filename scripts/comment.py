#!/usr/bin/env python3
"""Keeps one comment on a pull request: `comment.py SUMMARY`, the file with what `chatctl` wrote for the summary of the job.

The comment is found again by its first line and its author, so nobody else's is ever changed. The text is Markdown that
`chatctl` made, in which whatever others wrote stands in code. All else comes from the variables of the runner, and from

    NAME      the deployment that it is about
    NUMBER    of the pull request
    TOKEN     may write comments
    VERB      what was done
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

AUTHOR = "github-actions[bot]"
# GitHub takes 65536 characters.
MOST = 60000
PAGE = 100


def request(method, path, body=None):
    call = urllib.request.Request(f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}", method=method)
    call.add_header("Authorization", f"Bearer {os.environ['TOKEN']}")
    call.add_header("Accept", "application/vnd.github+json")
    call.add_header("X-GitHub-Api-Version", "2022-11-28")
    if body is not None:
        call.add_header("Content-Type", "application/json")
        call.data = json.dumps({"body": body}).encode()
    with urllib.request.urlopen(call, timeout=30) as answer:
        return json.load(answer)


def comments(number):
    page = 1
    while True:
        found = request("GET", f"issues/{number}/comments?per_page={PAGE}&page={page}")
        yield from found
        if len(found) < PAGE:
            return
        page += 1


def text(summary):
    name, verb = os.environ["NAME"], os.environ["VERB"]
    run = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(os.environ)
    if not summary.strip():
        summary = f"## `{name}`\n\n`{verb}` has failed: what is there may not be what was wanted.\n"
    elif len(summary) > MOST:
        summary = f"## `{name}`\n\nWhat `{verb}` has to say is too long for a comment.\n"
    return f"{summary.strip()}\n\n[The run]({run})\n"


def main():
    name, number = os.environ["NAME"], os.environ["NUMBER"]
    if not number or not name:
        missing = "this is no pull request" if not number else "it is not known which deployment this was about"
        print(f"::notice title=chatctl::{missing}, so there is no comment")
        return
    marker = f"<!-- chatctl: {name} -->\n"
    body = marker + text(Path(sys.argv[1]).read_text())
    is_ours = lambda comment: comment["user"]["login"] == AUTHOR and comment["body"].replace("\r", "").startswith(marker)
    ours = next(filter(is_ours, comments(number)), None)
    if ours:
        request("PATCH", f"issues/comments/{ours['id']}", body)
    elif os.environ["VERB"] != "down":
        request("POST", f"issues/{number}/comments", body)


try:
    main()
except urllib.error.HTTPError as error:
    hint = "; the job needs `pull-requests: write`" if error.code == 403 else ""
    print(f"::warning title=chatctl::GitHub did not take the comment: {error.code} {error.reason}{hint}")
except OSError as error:
    print(f"::warning title=chatctl::the comment could not be written: {error}")
