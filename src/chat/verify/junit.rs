//! The JUnit report of a verification, for pipelines that show one: a test case for each step.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::terms::At;
use crate::error::{Code, Error, Result};
use crate::host::visible;

const STEPS: [At; 6] = [At::Network, At::Connect, At::SendMessage, At::Disconnect, At::Route, At::Latency];

/// A report that is begun: until the verification ends, it says that it did not.
#[derive(Clone, Debug)]
pub struct Junit(PathBuf);

impl Junit {
    /// # Errors
    /// `Usage` when the folder of `file` is not there, `Unwritable` when the file cannot be written.
    pub fn begin(file: PathBuf) -> Result<Self> {
        let folder = file.parent().unwrap_or(&file);
        if !folder.is_dir() {
            return Err(Error::usage(format!("the folder of `--junit`, `{}`, does not exist", folder.display())));
        }
        let junit = Self(file);
        // Whatever ends the run from now on, no report of an earlier one stays and passes for its own.
        let unfinished = Error::failed(Code::Unfinished, "the verification did not end");
        junit.write(&document(Some((None, &unfinished)), &[]))?;
        Ok(junit)
    }

    /// Tells how it ended: `failed` is the step, where it was one, and what was wrong; `left_out` are those not asked for.
    pub(super) fn end(&self, failed: Option<(Option<At>, &Error)>, left_out: &[At]) -> Result<()> {
        self.write(&document(failed, left_out))
    }

    fn write(&self, document: &str) -> Result<()> {
        fs::write(&self.0, document).map_err(|error| {
            Error::failed(
                Code::Unwritable,
                format!("the JUnit report `{}` cannot be written: {error}", self.0.display()),
            )
        })
    }
}

fn document(failed: Option<(Option<At>, &Error)>, left_out: &[At]) -> String {
    let steps = STEPS.iter().filter(|step| !left_out.contains(step));
    let (mut cases, mut tests, mut skipped, mut is_over) = (String::new(), 0, 0, false);
    let mut case = |name: &str, outcome: &str| {
        tests += 1;
        // Writing to a string cannot fail.
        let _ = match outcome {
            "" => writeln!(cases, r#"    <testcase classname="chatctl verify" name="{name}"/>"#),
            _ => writeln!(cases, r#"    <testcase classname="chatctl verify" name="{name}">{outcome}</testcase>"#),
        };
    };
    match failed {
        Some((None, error)) => case("the verification", &failure(error)),
        _ => {
            for step in steps {
                let name = step.to_string().replace('`', "");
                match failed {
                    Some((at, error)) if at == Some(*step) => {
                        is_over = true;
                        case(&name, &failure(error));
                    }
                    _ if is_over => {
                        skipped += 1;
                        case(&name, "<skipped/>");
                    }
                    _ => case(&name, ""),
                }
            }
        }
    }
    let failures = u8::from(failed.is_some());
    let counts = format!(r#"tests="{tests}" failures="{failures}" skipped="{skipped}""#);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"chatctl verify\" {counts}>\n\
         {cases}  </testsuite>\n</testsuites>\n"
    )
}

/// The first line as the message, all of it and the hint as the text.
fn failure(error: &Error) -> String {
    let first = error.message.lines().next().unwrap_or_default();
    let hint = error.hint.iter().map(|hint| format!("hint: {hint}"));
    let text: Vec<_> = error.message.lines().map(str::to_owned).chain(hint).map(|line| escaped(&line)).collect();
    let (code, first) = (escaped(&error.code), escaped(first));
    format!(r#"<failure type="{code}" message="{first}">{}</failure>"#, text.join("\n"))
}

/// A line as XML takes it, which has no place for control characters and for two more.
fn escaped(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for c in visible(line).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.extend(c.escape_unicode()),
            _ => escaped.push(c),
        }
    }
    escaped
}
