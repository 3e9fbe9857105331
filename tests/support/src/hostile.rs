//! What others may have written, at its worst, and what it must have become wherever it is shown.

use chatctl::host::visible;

/// Texts of others that try to steer whoever shows them.
pub const HOSTILE: [&str; 14] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m\u{90}x\u{9c}",
    "a\r\n::error::owned",
    "\n \u{a0}\t::add-mask::x",
    "::set-output name=url::evil",
    "x ##[command]y ###[error]z",
    "##vso[task.setvariable]x",
    "\u{202e}evil\u{2066}\u{61c}",
    "\u{200b}\u{2060}\u{feff}\u{3164}\u{ffa0}\u{e0041}\u{115f}",
    "```\n<img src=x onerror=alert(1)>\n````",
    "` | <script> |",
    "\u{1b}[8mhidden",
    "\nurl=ws://evil",
    "\u{2028}::warning::x\u{85}::debug::y",
];

/// Of what a terminal shows: all of it is seen, and nothing steers.
pub fn is_plain(text: &str) -> bool {
    // Not by the word of `visible` alone.
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{115f}' | '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
            || matches!(c, '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{e0001}'..='\u{e007f}')
    };
    text.lines().all(|line| visible(line) == line && !line.contains(is_hidden))
}

/// Of a stream that the runner of a pipeline may read: that, and no line is a command.
pub fn is_harmless(text: &str) -> bool {
    let command = |line: &str| {
        let marked = line.match_indices("##").any(|(at, _)| {
            line[at..].trim_start_matches('#').trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('[')
        });
        marked || line.trim_start().starts_with("::")
    };
    is_plain(text) && !text.lines().any(command)
}
