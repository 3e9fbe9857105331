//! Texts that are compared with files of their own.

use std::fs;
use std::path::Path;

/// Compares `text` with `snapshots/<name>.txt`, or rewrites that.
#[track_caller]
pub fn assert_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|set| !set.is_empty()) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (old, new))) = differing(&kept, text) {
        panic!(
            "{}:{line} differs; UPDATE_SNAPSHOTS=1 takes the new text over\n- {old}\n+ {new}\n\nall of it:\n{text}",
            path.display()
        );
    }
}

/// The first line that differs, from 1.
fn differing<'a>(old: &'a str, new: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    const END: &str = "(end)";
    let (mut old, mut new) = (old.lines(), new.lines());
    (1..)
        .map_while(|line| match (old.next(), new.next()) {
            (None, None) => None,
            (a, b) => Some((line, (a.unwrap_or(END), b.unwrap_or(END)))),
        })
        .find(|(_, (a, b))| a != b)
}

/// `text` with every run of digits and the like that differs from run to run replaced.
pub fn masked(text: &str, secrets: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (volatile, mask) in secrets {
        text = text.replace(volatile, mask);
    }
    times_masked(&text)
}

/// `0.3 s` becomes `<time>`, and so does `"elapsedMs":312`.
fn times_masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, tail) = rest.split_at(at);
        let number = tail.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tail.len());
        let (number, after) = tail.split_at(number);
        masked.push_str(before);
        let is_time = before.ends_with("elapsedMs\":") || (number.contains('.') && after.starts_with(" s"));
        masked.push_str(if is_time { "<time>" } else { number });
        rest = after.strip_prefix(" s").filter(|_| is_time).unwrap_or(after);
    }
    masked + rest
}
