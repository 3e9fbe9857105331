//! Results and errors as text for people.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthStr;

use super::difference;
use super::style::{Tone, paint};
use crate::engine::change::{Action, Change};
use crate::engine::key::Key;
use crate::engine::plan::Plan;
use crate::error::{Error, MANY};
use crate::host::visible;

/// An error in the one form that all have: what, what stands, what to do.
pub fn error(error: &Error, verbose: bool, colored: bool) -> String {
    let mut text = format!("{}: {}\n", paint(colored, Tone::Bad, "error"), inert(&error.message));
    if !error.leftovers.is_empty() {
        let (left, count) = (&error.leftovers, error.leftovers.len());
        let names = count <= MANY || verbose;
        let left = if names { left.join(", ") } else { format!("{count} resources; `-v` names them") };
        text.push_str(&format!("exists now: {}\n", visible(&left)));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("{}: {}\n", paint(colored, Tone::Strong, "hint"), inert(hint)));
    }
    text
}

/// `text`, which may repeat what somebody wrote, with nothing in its lines but what is seen.
fn inert(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// What a plan's changes do not say themselves.
#[derive(Default)]
pub struct Beside {
    /// What users will notice.
    pub warnings: Vec<String>,
    /// The files of new code, and their bytes, by function.
    pub files: BTreeMap<Key, Vec<(String, usize)>>,
    /// Until when the deployment would live from now on.
    pub renewed_to: Option<String>,
}

/// A plan, a line a change and a line a property.
pub fn plan(plan: &Plan, beside: &Beside, colored: bool) -> String {
    let renewal = beside.renewed_to.iter().map(|at| format!("renews the time to live, until {}\n", visible(at)));
    if plan.is_empty() {
        return "nothing to do\n".to_owned() + &renewal.collect::<String>();
    }
    let mut text = String::new();
    for change in &plan.0 {
        let (sign, verb, tone) = match change.action {
            Action::Create => ("+", "create", Tone::Good),
            Action::Update => ("~", "update", Tone::Change),
            Action::Replace => ("±", "replace", Tone::Change),
            Action::Delete => ("-", "delete", Tone::Bad),
        };
        text.push_str(&format!("{} {verb} {}\n", paint(colored, tone, sign), visible(&change.key.to_string())));
        if matches!(change.action, Action::Update | Action::Replace) {
            for field in &change.fields.0 {
                text.extend(difference::planned(field).iter().map(|line| format!("    {line}\n")));
                if field.field == difference::CODE {
                    text.push_str(&files(beside.files.get(&change.key).map_or(&[], Vec::as_slice)));
                }
            }
        }
    }
    let count = |action| plan.0.iter().filter(|change| change.action == action).count();
    text.push_str(&format!(
        "{} to create, {} to update, {} to replace, {} to delete\n",
        count(Action::Create),
        count(Action::Update),
        count(Action::Replace),
        count(Action::Delete)
    ));
    text.extend(renewal);
    let warning = paint(colored, Tone::Bad, "warning");
    text.extend(beside.warnings.iter().map(|what| format!("{warning}: {}\n", visible(what))));
    text
}

/// What is in the code of a function: a line a file, up to some.
fn files(files: &[(String, usize)]) -> String {
    const SHOWN: usize = 12;
    let line = |(path, bytes): &(String, usize)| format!("      {} ({bytes} bytes)\n", visible(path));
    let rest = files.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!("      and {rest} more files\n") } else { String::new() };
    files.iter().take(SHOWN).map(line).collect::<String>() + &more
}

/// What is wrong with a resource, in one word.
pub fn state_of(change: Option<&Change>) -> &'static str {
    match change.map(|change| change.action) {
        None => "ready",
        Some(Action::Create) => "missing",
        Some(Action::Update | Action::Replace) => "differs",
        Some(Action::Delete) => "stray",
    }
}

/// `text` in at most so many columns of a terminal, with `…` for what is left out.
pub fn fitted(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    // By the width of all that stands before: signs that join others take no column of their own.
    let end = ends.take_while(|end| text[..*end].width() < columns).last().unwrap_or_default();
    if columns == 0 { String::new() } else { format!("{}…", &text[..end]) }
}

/// Rows in columns, two spaces apart; the last column is not padded. Where that is wider than `room`, the widest column leaves
/// the others and stands below them, whole: a row is then a text of several lines.
pub fn table(rows: &[Vec<String>], room: Option<usize>) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0)).collect();
    let mut beside: Vec<usize> = (0..columns).collect();
    let wide = |beside: &[usize]| beside.iter().map(|column| widths[*column] + 2).sum::<usize>().saturating_sub(2);
    while beside.len() > 1 && room.is_some_and(|room| wide(&beside) > room) {
        let widest = beside.iter().copied().max_by_key(|column| widths[*column]);
        beside.retain(|column| Some(*column) != widest);
    }
    let text = |row: &Vec<String>| {
        let pad = |column: &usize| format!("{}{}", row[*column], " ".repeat(widths[*column] - row[*column].width()));
        let line = beside.iter().map(pad).collect::<Vec<_>>().join("  ").trim_end().to_owned();
        let below = (0..columns).filter(|column| !beside.contains(column)).map(|column| format!("\n  {}", row[column]));
        line + &below.collect::<String>()
    };
    rows.iter().map(text).collect()
}

/// So many messages, in words.
pub fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

/// A length of time as people say it, in its two largest units: `2 days 3 h`.
pub fn span(time: time::Duration) -> String {
    let minutes = time.whole_minutes().max(0);
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (1, hours, _) => format!("1 day {hours} h"),
        (days, hours, _) => format!("{days} days {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_by_columns_and_says_so() {
        for (text, columns, fits) in [
            ("short", 5, "short"),
            ("shorter", 5, "shor…"),
            ("ünder", 5, "ünder"),
            ("u\u{308}nderneath", 5, "u\u{308}nde…"),
            ("日本語です", 6, "日本…"),
            ("日本語", 6, "日本語"),
            ("👩‍💻👩‍💻", 3, "👩‍💻…"),
            ("any", 1, "…"),
            ("any", 0, ""),
        ] {
            assert_eq!(fitted(text, columns), fits, "{text} in {columns}");
        }
    }

    #[test]
    fn columns_stand_below_each_other_whatever_is_in_them() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["日本", "a"]), row(["ünder", "b"])];
        assert_eq!(table(&rows, None), ["日本   a", "ünder  b"]);
        assert_eq!(table(&rows, Some(8)), table(&rows, None));
        assert_eq!(table(&rows, Some(7)), ["a\n  日本", "b\n  ünder"]);
    }
}
