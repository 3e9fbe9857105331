//! Lines that are longer than a terminal is wide, broken between words rather than within them.

use unicode_width::UnicodeWidthStr;

/// `text` in lines of at most `columns`, what goes on in a further line two columns deeper than where it began. What
/// stands in backticks, and what has no blank in it, stays in one line, however long it is: it may be copied.
pub fn folded(text: &str, columns: usize) -> String {
    text.split('\n').map(|line| fold(line, columns)).collect::<Vec<_>>().join("\n")
}

fn fold(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let depth = line.len() - line.trim_start_matches(' ').len();
    let next = format!("\n{}", " ".repeat(depth + 2));
    let mut folded = " ".repeat(depth);
    let mut used = depth;
    for (nth, word) in words(line[depth..].trim_end()).into_iter().enumerate() {
        let wide = width(word);
        if nth == 0 {
            used += wide;
        } else if used + 1 + wide > columns {
            folded.push_str(&next);
            used = depth + 2 + wide;
        } else {
            folded.push(' ');
            used += 1 + wide;
        }
        folded.push_str(word);
    }
    folded
}

/// What stands between blanks, or in backticks; where one of these has no second, they count for nothing.
fn words(line: &str) -> Vec<&str> {
    let is_paired = line.matches('`').count().is_multiple_of(2);
    let mut is_quoted = false;
    line.split(|c| {
        is_quoted ^= c == '`' && is_paired;
        c == ' ' && !is_quoted
    })
    .collect()
}

/// Columns of a line, without its colours.
fn width(line: &str) -> usize {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    first + parts.map(|part| part.split_once('m').map_or(part, |(_, shown)| shown).width()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_nothing_else_is() {
        for (text, columns, lines) in [
            ("one two three", 13, "one two three"),
            ("one two three", 12, "one two\n  three"),
            ("    one two three", 11, "    one two\n      three"),
            ("a\none two", 5, "a\none\n  two"),
            ("hint: `chatctl up --local` creates it", 20, "hint:\n  `chatctl up --local`\n  creates it"),
            ("it is wss://example.com/prod now", 10, "it is\n  wss://example.com/prod\n  now"),
            ("an odd ` is no pair", 10, "an odd `\n  is no\n  pair"),
            ("\u{1b}[1mone\u{1b}[0m two", 7, "\u{1b}[1mone\u{1b}[0m two"),
            ("日本 日本", 8, "日本\n  日本"),
        ] {
            assert_eq!(folded(text, columns), lines, "{columns}");
        }
    }
}
