"""A runner for pipelines, as far as ours need one: `runner.py <request as JSON>` runs one job and prints what came of it.

What it does not know is an error, so that a template cannot use it unnoticed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import yaml


class Context(dict):
    """An object of an expression: what is not there is empty."""

    def __getattr__(self, name):
        return wrapped(self.get(name.replace("__", "-"), Nothing()))


class Nothing(str):
    """Of which everything is empty, too."""

    def __getattr__(self, name):
        return self


def wrapped(value):
    return Context(value) if isinstance(value, dict) else value


def evaluate(expression, contexts):
    """GitHub's expression language, with no function but `always()`."""
    text = re.sub(r"(?<=\.)([\w-]+)", lambda word: word[1].replace("-", "__"), expression)
    text = text.replace("always()", "True").replace("&&", " and ").replace("||", " or ")
    if "(" in text:
        raise ValueError(f"no functions are known: {expression}")
    return eval(text, {"__builtins__": {}}, {name: wrapped(value) for name, value in contexts.items()})


def filled(value, contexts):
    """`value` with every `${{ … }}` in it evaluated."""
    if isinstance(value, dict):
        return {key: filled(inner, contexts) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, contexts) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(evaluate(found[1].strip(), contexts)), value)
    return value


def pairs(path):
    """What a step wrote to a file of `name=value` lines."""
    return dict(line.split("=", 1) for line in Path(path).read_text().splitlines())


class Job:
    def __init__(self, request):
        self.request = request
        self.folder = Path(tempfile.mkdtemp(dir=request["folder"]))
        self.env = dict(request["env"], CI="true", GITHUB_ACTIONS="true", RUNNER_OS="Linux", RUNNER_ARCH="X64")
        self.env |= {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "us/chat", "GITHUB_RUN_ID": "9"}
        self.env |= {"RUNNER_TOOL_CACHE": request["tools"], "RUNNER_TEMP": str(self.folder)}
        self.report = {"used": [], "log": "", "summary": "", "failed": False, "outputs": {}}

    def steps(self, steps, contexts):
        skipped = {"outputs": {}, "outcome": "skipped"}
        contexts = dict(contexts, steps={step["id"]: skipped for step in steps if "id" in step})
        failed = False
        for step in steps:
            condition = str(step.get("if", "True"))
            if (failed and "always()" not in condition) or not evaluate(condition, contexts):
                continue
            outputs, has_failed = self.step(step, contexts)
            failed |= has_failed and not step.get("continue-on-error", False)
            if "id" in step:
                contexts["steps"][step["id"]] = {"outputs": outputs, "outcome": "failure" if has_failed else "success"}
        return contexts, failed

    def step(self, step, contexts):
        if "run" in step:
            return self.script(step, contexts)
        uses, inputs = step["uses"], filled(step.get("with", {}), contexts)
        self.report["used"].append({"uses": uses, "with": inputs})
        if uses.startswith("OWNER/chatctl@"):
            return self.composite(self.request["action"], inputs, contexts)
        known = ("actions/checkout@", "actions/cache@", "aws-actions/configure-aws-credentials@")
        if not uses.startswith(known):
            raise ValueError(f"nothing is known about {uses}")
        return {}, False

    def composite(self, path, inputs, contexts):
        action = yaml.safe_load(Path(path, "action.yml").read_text())
        inputs = {name: str(value).lower() if isinstance(value, bool) else value for name, value in inputs.items()}
        unknown = set(inputs) - set(action["inputs"])
        if unknown:
            raise ValueError(f"the action has no input {unknown}")
        defaults = {name: each["default"] for name, each in action["inputs"].items()}
        inner = dict(contexts, inputs=defaults | inputs, github=dict(contexts["github"], action_path=path))
        inner, failed = self.steps(action["runs"]["steps"], inner)
        return {name: filled(each["value"], inner) for name, each in action["outputs"].items()}, failed

    def script(self, step, contexts):
        files = {name: tempfile.mkstemp(dir=self.folder)[1] for name in ("OUTPUT", "STEP_SUMMARY", "PATH")}
        env = dict(self.env, **{f"GITHUB_{name}": path for name, path in files.items()})
        env |= filled(step.get("env", {}), contexts)
        script = self.folder / "step.sh"
        script.write_text(filled(step["run"], contexts))
        workspace = Path(self.request["workspace"], filled(step.get("working-directory", "."), contexts))
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        ended = subprocess.run(command, cwd=workspace, env=env, stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.report["log"] += ended.stdout
        self.report["summary"] += Path(files["STEP_SUMMARY"]).read_text()
        for added in Path(files["PATH"]).read_text().splitlines():
            self.env["PATH"] = f"{added}:{self.env['PATH']}"
        return pairs(files["OUTPUT"]), ended.returncode != 0

    def github(self):
        workflow = yaml.safe_load(Path(self.request["file"]).read_text())
        (job,) = workflow["jobs"].values()
        # What the token may do is what the job asks for.
        github = dict(self.request["github"], token=json.dumps(job.get("permissions", {})))
        contexts = {"github": github, "vars": self.request["vars"]}
        if evaluate(str(job.get("if", "True")), contexts):
            self.env |= filled(job.get("env", {}), contexts)
            contexts, self.report["failed"] = self.steps(job["steps"], contexts)
            self.report["outputs"] = filled(job.get("outputs", {}), contexts)

    def gitlab(self):
        pipeline = yaml.safe_load(Path(self.request["file"]).read_text())
        job = pipeline[self.request["job"]]
        base = pipeline[job["extends"]]
        job = base | job | {"variables": base.get("variables", {}) | job.get("variables", {})}
        env = self.env | self.request["vars"] | {"CI_PROJECT_DIR": self.request["workspace"]}
        for name, value in job["variables"].items():
            env[name] = re.sub(r"\$(\w+)", lambda found: env.get(found[1], ""), value)
        script = self.folder / "job.sh"
        script.write_text("\n".join(job["before_script"] + job["script"]) + "\n")
        command = ["bash", "-eo", "pipefail", str(script)]
        ended = subprocess.run(command, cwd=self.request["workspace"], env=env, stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.report["log"] = ended.stdout
        self.report["failed"] = ended.returncode != 0
        reports = {kind: Path(self.request["workspace"], file) for kind, file in job.get("artifacts", {}).get("reports", {}).items()}
        if "dotenv" in reports and not self.report["failed"]:
            self.report["outputs"] = pairs(reports["dotenv"])
        # Unlike variables, a report of tests is taken from a job that has failed.
        if "junit" in reports and reports["junit"].exists():
            suites = ElementTree.parse(reports["junit"]).getroot()
            self.report["junit"] = [[case.get("name"), case.find("failure") is None] for case in suites.iter("testcase")]


request = json.loads(sys.argv[1])
job = Job(request)
getattr(job, request["kind"])()
print(json.dumps(job.report))
