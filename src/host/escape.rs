//! What others wrote, made harmless before it leaves: it steers no terminal, commands no runner, and hides nothing.

use std::iter::Peekable;
use std::str::CharIndices;

/// `text` as a value within a line: everything that is not seen as it is, line ends too, is written out.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_hidden(c) || joins(before, c, chars.peek().copied()) {
            visible.push(c);
        } else {
            visible.extend(c.escape_default());
        }
        before = Some(c);
    }
    visible
}

/// `text` as whole lines: as [`visible`], but line ends, tabs and our own colours stay, and no line is one that the
/// runner of a pipeline would take for a command. The identity for all that was made harmless before.
pub fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut plain = 0;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let kept = if c == '\t' { at + 1 } else { at + color(&line[at..]) };
        if kept > at {
            shown.push_str(&visible(&line[plain..at]));
            shown.push_str(&line[at..kept]);
            plain = kept;
            skip_to(&mut chars, kept);
        }
    }
    shown.push_str(&visible(&line[plain..]));
    let shown = without_marks(&shown);
    if shown.trim_start().starts_with("::") { format!("\\{shown}") } else { shown }
}

/// GitHub's runner takes `##[` for a command wherever it stands, Azure's `##vso[`, TeamCity's `##teamcity[`.
fn without_marks(line: &str) -> String {
    let mut parts = line.split("##");
    let mut broken = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_mark = part.trim_start_matches(|c: char| c == '#' || c.is_ascii_alphabetic()).starts_with('[');
        broken.push_str(if is_mark { "#\\#" } else { "##" });
        broken.push_str(&if is_mark { part.replacen('#', "\\#", 1) } else { part.to_owned() });
    }
    broken
}

fn skip_to(chars: &mut Peekable<CharIndices<'_>>, to: usize) {
    while chars.next_if(|(at, _)| *at < to).is_some() {}
}

/// How many bytes at the beginning of `text` are a colour, as the faces write it. Others hide what they stand before, or
/// blink.
fn color(text: &str) -> usize {
    let Some((codes, _)) = text.strip_prefix("\u{1b}[").and_then(|code| code.split_once('m')) else { return 0 };
    let is_ours = |code: &str| matches!(code, "0" | "1" | "2" | "31" | "32" | "33" | "34" | "35" | "36");
    if codes.split(';').all(is_ours) { 2 + codes.len() + 1 } else { 0 }
}

/// JSON that says the same in a line that is harmless wherever it is shown.
pub fn json(document: &str) -> String {
    let unit = |unit: &u16| format!("\\u{unit:04x}");
    escaped(document, |c| c.encode_utf16(&mut [0; 2]).iter().map(unit).collect())
}

/// A string of JSON as one of YAML that says the same, is harmless, and has nothing that YAML takes only written out.
pub fn yaml(string: &str) -> String {
    escaped(string, |c| {
        if c > '\u{ffff}' { format!("\\U{:08x}", u32::from(c)) } else { format!("\\u{:04x}", u32::from(c)) }
    })
}

fn escaped(document: &str, escape: impl Fn(char) -> String) -> String {
    let mut harmless = String::with_capacity(document.len());
    let mut before = None;
    for c in document.chars() {
        // Between the values JSON has neither of these, apart from the white space of a document that is laid out.
        if (is_hidden(c) && c != '\n') || (c == '#' && before == Some('#')) {
            harmless.push_str(&escape(c));
        } else {
            harmless.push(c);
        }
        before = Some(c);
    }
    harmless
}

/// Controls, what turns the direction of writing, and what is not seen at all (Unicode's `Default_Ignorable_Code_Point`
/// and two blanks that count as letters).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `c` is there to join what stands around it, as in 👩‍💻, ❤️ and in words of Persian or Hindi.
fn joins(before: Option<char>, c: char, after: Option<char>) -> bool {
    let is_picture = |c: char| matches!(c, '\u{2190}'..='\u{2bff}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}');
    let is_joined = |c: char| matches!(c, '\u{620}'..='\u{6ff}' | '\u{900}'..='\u{dff}') && c.is_alphabetic();
    // A vowel sign or a virama may stand before, which counts as no letter.
    let may_be_joined = |c: char| is_joined(c) || matches!(c, '\u{900}'..='\u{dff}');
    match (before, c, after) {
        (Some(before), '\u{fe0f}', _) => before != '\u{fe0f}' && is_picture(before),
        (Some(before), '\u{200d}', Some(after)) if is_picture(before) => before != c && is_picture(after),
        (Some(before), '\u{200c}' | '\u{200d}', Some(after)) => may_be_joined(before) && is_joined(after),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_visible_steers_a_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\r\nc\u{9b}d\u{202e}e"), "a\\u{1b}[2Jb\\r\\nc\\u{9b}d\\u{202e}e");
        assert_eq!(visible("\u{1b}[31mred"), "\\u{1b}[31mred");
    }

    #[test]
    fn nothing_hides() {
        for c in "\u{ad}\u{61c}\u{115f}\u{200b}\u{2060}\u{2800}\u{3164}\u{feff}\u{ffa0}\u{e0041}".chars() {
            assert_eq!(visible(&format!("a{c}b")), format!("a{}b", c.escape_default()));
        }
        assert_eq!(visible("a\u{200d}b \u{fe0f}"), "a\\u{200d}b \\u{fe0f}");
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["grüße 👋🏽 日本 한국어", "👩‍💻 and 👨‍👩‍👧", "❤️ ✓", "می‌خواهم", "क्‍ष"]
        {
            assert_eq!(visible(text), text);
            assert_eq!(lines(text), text);
        }
    }

    #[test]
    fn no_line_is_a_command_of_a_runner() {
        assert_eq!(lines("::add-mask::x"), "\\::add-mask::x");
        assert_eq!(lines("a\n \u{a0}\u{3000}::error::x"), "a\n\\ \u{a0}\u{3000}::error::x");
        assert_eq!(lines("a ##[command]x ##vso[y"), "a #\\#[command]x #\\#vso[y");
        for hashes in 2..8 {
            assert!(!lines(&format!("a{}x[", "#".repeat(hashes))).contains("##x["), "{hashes}");
        }
        assert_eq!(lines("## a heading ###"), "## a heading ###");
        assert_eq!(lines("a::b"), "a::b");
    }

    #[test]
    fn our_colours_and_tabs_stay_in_lines_and_nothing_else_does() {
        assert_eq!(lines("\u{1b}[1;31mred\u{1b}[0m\tx"), "\u{1b}[1;31mred\u{1b}[0m\tx");
        // Concealed, black on black, blinking.
        for code in ["8", "30;40", "5", "", "1;8"] {
            assert_eq!(lines(&format!("\u{1b}[{code}mx")), format!("\\u{{1b}}[{code}mx"));
        }
        assert_eq!(lines("\u{1b}[2J\u{1b}]0;title\u{7}\u{1b}"), "\\u{1b}[2J\\u{1b}]0;title\\u{7}\\u{1b}");
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let text = "\u{9b}2J \u{202e} \u{e0041} ##[x ::y \u{7f} 日本";
        let document = serde_json::to_string(text).unwrap();
        let harmless = json(&document);
        assert!(!harmless.contains("##") && !harmless.chars().any(is_hidden), "{harmless}");
        assert_eq!(serde_json::from_str::<String>(&harmless).unwrap(), text);
        assert_eq!(lines(&harmless), harmless);
        // YAML knows no pairs of surrogates.
        let yaml = yaml(&document);
        assert!(yaml.contains("\\U000e0041") && !yaml.contains("##") && !yaml.chars().any(is_hidden), "{yaml}");
    }
}
