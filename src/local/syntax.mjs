// Reads the handlers without running any of them, and prints what Node.js could not load, a JSON object a line.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, extname, join } from 'node:path';
import vm from 'node:vm';

const { folder, entries } = JSON.parse(process.argv[2]);
// What Lambda's Node.js brings along.
const OF_LAMBDA = /^@(aws-sdk|smithy)\//;
const read = new Set();

const isFile = (path) => existsSync(path) && statSync(path).isFile();

// The folder nearest to `path`, and not above the handlers, that `has` what is looked for.
const nearest = (path, has) => {
  for (let at = dirname(path); at.startsWith(folder); at = dirname(at)) if (has(at)) return at;
  return undefined;
};

// Whether `path` is an ES module; undefined where its text decides.
const isModule = (path) => {
  if (extname(path) !== '.js') return extname(path) === '.mjs';
  const at = nearest(path, (at) => isFile(join(at, 'package.json')));
  const type = at && JSON.parse(readFileSync(join(at, 'package.json'), 'utf8')).type;
  return type && type === 'module';
};

const requestsOf = (source, path) => {
  const module = new vm.SourceTextModule(source, { identifier: path });
  return module.moduleRequests?.map((request) => request.specifier) ?? module.dependencySpecifiers;
};

const compileScript = (source) =>
  vm.compileFunction(source.replace(/^#!.*/, ''), ['exports', 'require', 'module', '__filename', '__dirname']);

const tell = (path, line, what) => console.log(JSON.stringify({ file: path.slice(folder.length + 1), line, what }));

// Only `--check` says where.
const tellSyntax = (path, error) => {
  const { stderr } = spawnSync(process.execPath, ['--check', path], { encoding: 'utf8' });
  const line = Number(/:(\d+)$/.exec(stderr.split('\n', 1)[0])?.[1] ?? 0);
  tell(path, line, error.message);
};

const check = (path) => {
  if (read.has(path)) return;
  read.add(path);
  const source = readFileSync(path, 'utf8');
  let specifiers = [];
  try {
    const asModule = isModule(path);
    if (asModule) specifiers = requestsOf(source, path);
    else {
      try {
        compileScript(source);
      } catch (error) {
        if (asModule === false || !/\b(import|export)\b/.test(source)) throw error;
        specifiers = requestsOf(source, path);
      }
    }
  } catch (error) {
    return tellSyntax(path, error);
  }
  const lines = source.split('\n');
  for (const specifier of specifiers) {
    const line = lines.findIndex((text) => text.includes(`'${specifier}'`) || text.includes(`"${specifier}"`)) + 1;
    const missing = () => tell(path, line, `cannot find module '${specifier}'`);
    if (/^\.\.?\//.test(specifier)) {
      const target = join(dirname(path), decodeURIComponent(specifier.split(/[?#]/, 1)[0]));
      if (!target.startsWith(`${folder}/`) || !isFile(target)) missing();
      else if (/\.[cm]?js$/.test(target)) check(target);
    } else if (!/^[a-z]+:|^[#/]/.test(specifier) && !isBuiltin(specifier) && !OF_LAMBDA.test(specifier)) {
      const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
      // What packages import among themselves is theirs to know.
      if (nearest(path, (at) => existsSync(join(at, 'node_modules', name))) === undefined) missing();
    }
  }
};

for (const entry of entries) check(join(folder, entry));
