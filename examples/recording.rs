//! Runs `chatctl up --local` and then `chatctl verify --local` on a terminal, and draws what it showed as an SVG.
//!
//! ```text
//! cargo build
//! cargo run --example recording -- target/debug/chatctl > docs/up.svg
//! ```

use std::error::Error;
use std::fmt::Write;
use std::io::Read;
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, open};

const ROWS: u16 = 40;
const COLUMNS: u16 = 96;
/// Between two pictures.
const FRAME: Duration = Duration::from_millis(100);
/// How long the last picture stays before it all begins again.
const END: Duration = Duration::from_secs(6);

const CHAR: f32 = 8.4;
const LINE: f32 = 18.0;
const MARGIN: f32 = 16.0;

/// What the terminal showed from a moment on, a line an entry.
struct Frame {
    at: Duration,
    lines: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let program = std::env::args().nth(1).ok_or("usage: recording PATH-TO-CHATCTL")?;
    let mut screen = vt100::Parser::new(ROWS.try_into()?, COLUMNS.try_into()?, 0);
    let mut frames: Vec<Frame> = Vec::new();
    let mut clock = Duration::ZERO;
    for args in [["up", "--local"], ["verify", "--local"]] {
        screen.process(format!("\u{1b}[1m$ chatctl {}\u{1b}[0m\r\n", args.join(" ")).as_bytes());
        clock = record(&program, &args, &mut screen, &mut frames, clock)?;
    }
    println!("{}", svg(&frames, clock));
    Ok(())
}

/// Runs one command; returns the time at which it ended.
fn record(
    program: &str,
    args: &[&str],
    screen: &mut vt100::Parser,
    frames: &mut Vec<Frame>,
    from: Duration,
) -> Result<Duration, Box<dyn Error>> {
    let (mut pty, pts) = open()?;
    pty.resize(Size::new(ROWS, COLUMNS))?;
    let mut child = Command::new(program).args(args).env("TERM", "xterm-256color").spawn(pts)?;
    let began = Instant::now();
    let mut bytes = [0; 4096];
    // On Linux the read fails once the other side has gone.
    while let Ok(count @ 1..) = pty.read(&mut bytes) {
        screen.process(&bytes[..count]);
        let at = from + began.elapsed();
        let last = frames.last().map_or(Duration::ZERO, |frame| frame.at);
        if frames.is_empty() || at.saturating_sub(last) >= FRAME {
            frames.push(Frame { at, lines: lines(screen.screen()) });
        }
    }
    if !child.wait()?.success() {
        return Err(format!("`chatctl {}` failed:\n{}", args.join(" "), screen.screen().contents()).into());
    }
    let at = from + began.elapsed();
    frames.push(Frame { at, lines: lines(screen.screen()) });
    Ok(at)
}

/// Each line of the screen as the inside of an SVG text.
fn lines(screen: &vt100::Screen) -> Vec<String> {
    (0..ROWS).map(|row| line(screen, row)).collect()
}

fn line(screen: &vt100::Screen, row: u16) -> String {
    let mut text = String::new();
    let mut style = String::new();
    for column in 0..COLUMNS {
        let Some(cell) = screen.cell(row, column) else { break };
        let now = match (cell.fgcolor(), cell.bold()) {
            (vt100::Color::Idx(2), _) => "g",
            (vt100::Color::Idx(1), _) => "r",
            (vt100::Color::Idx(3), _) => "y",
            (_, true) => "b",
            _ => "",
        };
        if now != style {
            text.push_str(if style.is_empty() { "" } else { "</tspan>" });
            if !now.is_empty() {
                let _ = write!(text, "<tspan class=\"{now}\">");
            }
            now.clone_into(&mut style);
        }
        match cell.contents() {
            "" => text.push(' '),
            "<" => text.push_str("&lt;"),
            "&" => text.push_str("&amp;"),
            other => text.push_str(other),
        }
    }
    if !style.is_empty() {
        text.push_str("</tspan>");
    }
    text.trim_end().to_owned()
}

/// The frames one after another; the last one alone for whoever prefers that nothing moves.
fn svg(frames: &[Frame], length: Duration) -> String {
    let used =
        frames.iter().filter_map(|frame| frame.lines.iter().rposition(|line| !line.is_empty())).max().unwrap_or(0);
    let (width, height) = (f32::from(COLUMNS) * CHAR + 2.0 * MARGIN, (used + 1) as f32 * LINE + 2.0 * MARGIN);
    let whole = (length + END).as_secs_f32();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"chatctl up --local and chatctl verify --local on a terminal\">\n<style>\n\
         rect {{ fill: #16181d }} text {{ font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; \
         fill: #d7dae0; white-space: pre }}\n.g {{ fill: #7fd962 }} .r {{ fill: #f26d78 }} .y {{ fill: #ffb454 }} \
         .b {{ font-weight: bold }}\n.f {{ visibility: hidden; animation: {whole:.2}s step-end infinite }}\n\
         @media (prefers-reduced-motion) {{ .f {{ animation: none !important }} .f:last-of-type {{ visibility: visible }} }}\n"
    );
    let percent = |at: Duration| at.as_secs_f32() / whole * 100.0;
    for (index, frame) in frames.iter().enumerate() {
        let from = if index == 0 { 0.0 } else { percent(frame.at) };
        let to = frames.get(index + 1).map_or(100.0, |next| percent(next.at));
        let _ = writeln!(
            text,
            "@keyframes k{index} {{ 0% {{ visibility: hidden }} {from:.3}% {{ visibility: visible }} \
             {to:.3}% {{ visibility: {} }} }}",
            if index + 1 == frames.len() { "visible" } else { "hidden" }
        );
    }
    let _ = writeln!(text, "</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\"/>\n<defs>");
    // A line that many frames show is in the file once.
    let mut known: Vec<(usize, &str)> = Vec::new();
    let mut drawn = String::new();
    for (index, frame) in frames.iter().enumerate() {
        let _ = write!(drawn, "<g class=\"f\" style=\"animation-name: k{index}\">");
        for (row, line) in frame.lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            let id = known.iter().position(|entry| *entry == (row, line.as_str())).unwrap_or_else(|| {
                known.push((row, line));
                known.len() - 1
            });
            let _ = write!(drawn, "<use href=\"#l{id}\"/>");
        }
        drawn.push_str("</g>\n");
    }
    for (id, (row, line)) in known.iter().enumerate() {
        let y = MARGIN + LINE * (*row as f32 + 0.75);
        let _ = writeln!(text, "<text id=\"l{id}\" x=\"{MARGIN}\" y=\"{y:.1}\" xml:space=\"preserve\">{line}</text>");
    }
    text + "</defs>\n" + &drawn + "</svg>"
}
