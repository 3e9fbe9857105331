//! The few colours there are, and whether to use them.

use crate::config::{Color, Face};
use crate::host::{Host, Output};

/// Whether `output` gets colours: as the flag says, else by `NO_COLOR`, else if it is a terminal.
pub fn is_colored(face: Face, host: &Host, output: &Output) -> bool {
    match face.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => host.env.get("NO_COLOR").is_none() && output.is_terminal,
    }
}

#[derive(Clone, Copy)]
pub enum Tone {
    Good,
    Bad,
    Change,
    Quiet,
    Strong,
}

/// `text` in a tone, or as it is.
pub fn paint(colored: bool, tone: Tone, text: &str) -> String {
    if !colored {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Change => "33",
        Tone::Quiet => "2",
        Tone::Strong => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
