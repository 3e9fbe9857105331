#!/usr/bin/env node
// Runs the binary that npm chose for this platform, as if it had been called itself: same streams, signals and exit code.
"use strict";

const { spawn } = require("node:child_process");

// The static one first: a client that knows no `libc` installs both, and it runs everywhere.
const NAMES = process.platform === "linux" ? ["-musl", "-gnu"] : [""];

function binary() {
  for (const name of NAMES) {
    try {
      return require.resolve(`@chatctl/${process.platform}-${process.arch}${name}/chatctl`);
    } catch {
      // The next one.
    }
  }
  console.error(`error: npm has installed no chatctl for ${process.platform} on ${process.arch}`);
  console.error("hint: install again without `--omit=optional`; there are packages for Linux and macOS on x64 and arm64");
  process.exit(1);
}

const child = spawn(binary(), process.argv.slice(2), { stdio: "inherit" });

// A terminal sends these to everything that runs in it, so the binary has them already; a second one would force its end.
const onTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"]) {
  process.on(signal, () => {
    if (signal === "SIGTERM" || !onTerminal) child.kill(signal);
  });
}

child.on("error", (error) => {
  console.error(`error: ${child.spawnfile} cannot be run: ${error.message}`);
  process.exitCode = 1;
});
child.on("exit", (code, signal) => {
  if (signal === null) {
    process.exitCode = code;
  } else {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
});
