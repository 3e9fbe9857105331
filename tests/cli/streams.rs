//! Where output goes: a terminal, a pipe, a file, or nobody any more.

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use support::{Folder, Ministack, chatctl, ministack};

use super::snapshot::{assert_snapshot, masked};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");

/// A run on a terminal of its own.
struct OnTerminal {
    pty: Pty,
    child: Child,
    size: (u16, u16),
    account: String,
    _home: Folder,
}

/// How it ended.
struct Seen {
    code: Option<i32>,
    /// All that was written to the terminal.
    raw: String,
    /// What the terminal shows in the end.
    screen: String,
    /// What went to a pipe instead.
    stdout: String,
}

impl OnTerminal {
    fn start(server: &Ministack, line: &str, size: (u16, u16), piped: bool, env: &[(&str, &str)]) -> Self {
        let home = Folder::new();
        let account = server.account();
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(size.0, size.1)).unwrap();
        let command = Command::new(PROGRAM).args(line.split_whitespace()).env_clear().current_dir(&home.0);
        let command = command
            .envs([("PATH", std::env::var("PATH").unwrap()), ("HOME", home.0.display().to_string())])
            .envs([("AWS_ENDPOINT_URL", server.url()), ("AWS_REGION", "us-east-1"), ("TERM", "xterm-256color")])
            .envs([("AWS_ACCESS_KEY_ID", account.as_str()), ("AWS_SECRET_ACCESS_KEY", "local")])
            .envs(env.iter().copied());
        let command = if piped { command.stdout(Stdio::piped()) } else { command };
        let child = command.spawn(pts).unwrap();
        Self { pty, child, size, account, _home: home }
    }

    /// Reads until it ends; the machine that runs this may be slow, but not endlessly so.
    fn finish(mut self) -> Seen {
        let (done, ended) = mpsc::channel();
        let (rows, columns) = self.size;
        std::thread::spawn(move || {
            let mut raw = Vec::new();
            let mut bytes = [0; 4096];
            // Linux answers with an error when the other side has gone.
            while let Ok(count @ 1..) = self.pty.read(&mut bytes) {
                raw.extend_from_slice(&bytes[..count]);
            }
            let mut stdout = String::new();
            if let Some(mut pipe) = self.child.stdout.take() {
                pipe.read_to_string(&mut stdout).unwrap();
            }
            let code = self.child.wait().unwrap().code();
            let mut screen = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 1000);
            screen.process(&raw);
            let raw = String::from_utf8(raw).unwrap();
            let _ = done.send(Seen { code, raw, screen: shown(screen.screen()), stdout });
        });
        ended.recv_timeout(Duration::from_secs(60)).expect("it ends")
    }
}

/// Row by row, so that one that fills its whole width does not run into the next.
fn shown(screen: &vt100::Screen) -> String {
    let rows = screen.rows(0, screen.size().1.get()).map(|row| row.trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[tokio::test]
async fn the_live_view_ends_with_a_line_a_resource() {
    let server = ministack().await;
    let run = OnTerminal::start(server, "up", (40, 100), false, &[]);
    let account = run.account.clone();
    let seen = tokio::task::spawn_blocking(|| run.finish()).await.unwrap();
    assert_eq!(seen.code, Some(0), "{}", seen.screen);
    let url = seen.screen.lines().last().unwrap().to_owned();
    let api = url.rsplit('/').nth(1).unwrap();
    // How long each took, on the right, and what was waited for on the way.
    let lines = seen.screen.lines().map(|line| match line.strip_suffix(" s") {
        Some(time) if time.ends_with(|c: char| c.is_ascii_digit()) && !line.contains("ready after") => {
            time.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end()
        }
        _ => line,
    });
    let mut lines: Vec<&str> = lines.filter(|line| !line.ends_with(" ready")).collect();
    let end = lines.iter().position(|line| line.starts_with("ready after")).unwrap();
    lines[..end].sort_unstable();
    let host = server.url().trim_start_matches("http://");
    assert_snapshot(
        "terminal",
        &masked(&lines.join("\n"), &[(host, "<aws>"), (api, "<api>"), (&account, "<account>")]),
    );
    assert!(seen.raw.contains("\u{1b}[32m✓"), "no green tick");
}

/// Half of a narrow terminal is for the name, so that it can be read what goes on; nothing runs into the next line.
#[tokio::test]
async fn the_live_view_fits_narrow_terminals() {
    let server = ministack().await;
    for columns in [80, 60] {
        let run = OnTerminal::start(server, "up", (60, columns), false, &[]);
        let seen = tokio::task::spawn_blocking(|| run.finish()).await.unwrap();
        assert_eq!(seen.code, Some(0), "{}", seen.screen);
        let bars: Vec<&str> = seen.screen.lines().take_while(|line| !line.starts_with("ready after")).collect();
        assert!(bars.len() >= 25, "{}", seen.screen);
        for bar in &bars {
            let is_whole = bar.starts_with("✓ ") && [" created ", " ready "].iter().any(|what| bar.contains(what));
            assert!(is_whole && bar.ends_with(" s"), "{columns}: {bar:?}");
        }
        let cut = bars.iter().any(|bar| bar.contains("log-group /aws/lambda/chat-on…"));
        assert_eq!(cut, columns == 60, "{}", seen.screen);
    }
}

/// What was written, without colours, in lines that are longer than the terminal and could be broken somewhere.
fn too_long(raw: &str, columns: usize) -> Vec<String> {
    let plain = raw.split("\u{1b}[").enumerate().map(|(nth, part)| match part.split_once('m') {
        Some((_, shown)) if nth > 0 => shown,
        _ => part,
    });
    let lines = plain.collect::<String>();
    let lines = lines.lines().map(str::trim);
    lines.filter(|line| line.chars().count() > columns && line.contains(' ')).map(str::to_owned).collect()
}

/// A name, a URL, an ARN and a command are there to be copied: they stay whole, and what stands beside them makes room.
#[tokio::test]
async fn what_is_printed_fits_the_terminal_and_is_whole() {
    const LONG: &str = "a-deployment-whose-name-is-long";
    const PURPOSE: &str = "a chat for people who say in a long sentence what it is good for and for whom it is there";
    let server = ministack().await;
    let account = server.account();
    let show = async |line: &str, columns: u16, piped: bool| {
        let purpose = if line.contains("--memory") { PURPOSE } else { "" };
        let env = [("AWS_ACCESS_KEY_ID", account.as_str()), ("CHATCTL_NAME", LONG), ("CHATCTL_DESCRIPTION", purpose)];
        let run = OnTerminal::start(server, line, (60, columns), piped, &env);
        tokio::task::spawn_blocking(|| run.finish()).await.unwrap()
    };
    let url = show("up -q", 200, true).await.stdout.trim().to_owned();
    let function = format!("{LONG}-onDisconnect");
    let log_group = format!("/aws/lambda/{function}");
    for columns in [60, 80, 120] {
        for (line, whole) in [
            ("list", vec![LONG, &url]),
            ("status", vec![&url, &log_group]),
            ("status --memory 1024", vec![&url, &log_group, "differs"]),
            ("plan --memory 1024", vec![&function, "→"]),
            ("plan --destroy", vec![&log_group, "warning"]),
            ("plan --tag chatctl:managed=no", vec!["error"]),
            ("verify -q", vec!["p99"]),
            ("status --nmae x", vec!["`--name`"]),
        ] {
            let seen = show(line, columns, false).await;
            assert_eq!(too_long(&seen.raw, columns.into()), [""; 0], "`{line}` in {columns} columns:\n{}", seen.raw);
            for whole in whole {
                assert!(
                    seen.raw.contains(whole),
                    "`{whole}` is not whole in `{line}`, {columns} columns:\n{}",
                    seen.raw
                );
            }
        }
    }
    // A result begins a line of its own.
    let verified = show("verify", 80, false).await.raw;
    assert!(verified.contains("\n2 clients"), "{verified}");
    // Where there is room, and where nobody looks, a row is a line.
    let list = show("list", 60, true).await.stdout;
    assert_eq!(list.lines().count(), 2, "{list}");
    assert_eq!(show("list", 200, false).await.raw.replace('\r', ""), list);
    let status = show("status", 60, true).await.stdout;
    let row = |line: &str| line.starts_with("log-group") && line.contains(&log_group) && line.ends_with("ready");
    assert!(status.lines().any(row), "{status}");
}

/// The manual is laid out where it is read: what cannot be broken must be short.
#[tokio::test]
async fn every_help_fits_the_terminal() {
    let server = ministack().await;
    for verb in super::help::verbs().iter().map(String::as_str).chain([""]) {
        for columns in [60, 80] {
            let run = OnTerminal::start(server, &format!("{verb} --help"), (60, columns), false, &[]);
            let seen = tokio::task::spawn_blocking(|| run.finish()).await.unwrap();
            let lines = seen.raw.lines().filter(|line| line.chars().count() > columns.into()).collect::<Vec<_>>();
            assert!(seen.code == Some(0) && lines.is_empty(), "{verb} in {columns} columns: {lines:?}");
        }
    }
    let page = super::run::chatctl("man").run().await.stdout;
    let is_kept = |line: &&str| [".nf", ".EX", ".TS"].iter().any(|kept| line.starts_with(kept));
    assert_eq!(page.lines().find(is_kept), None, "is laid out by hand");
    // The margin of a manual is 7 columns, that of an option's text 7 more.
    let longest = page.split_whitespace().max_by_key(|word| word.replace('\\', "").chars().count()).unwrap();
    assert!(longest.replace('\\', "").chars().count() <= 60 - 14, "{longest}");
}

#[tokio::test]
async fn no_color_leaves_the_live_view_but_no_colour() {
    let server = ministack().await;
    let run = OnTerminal::start(server, "up", (40, 100), false, &[("NO_COLOR", "1")]);
    let seen = tokio::task::spawn_blocking(|| run.finish()).await.unwrap();
    assert_eq!(seen.code, Some(0), "{}", seen.screen);
    assert!(seen.raw.contains("✓"));
    // Select graphic rendition ends in `m`, everything that moves the cursor in something else.
    let colors: Vec<&str> = seen
        .raw
        .split("\u{1b}[")
        .skip(1)
        .filter(|code| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
        .collect();
    assert!(colors.iter().all(|code| code.starts_with("0m") || code.starts_with('m')), "{colors:?}");
}

#[tokio::test]
async fn a_terminal_for_people_and_a_pipe_for_the_shell() {
    let server = ministack().await;
    let run = OnTerminal::start(server, "up", (40, 100), true, &[]);
    let seen = tokio::task::spawn_blocking(|| run.finish()).await.unwrap();
    assert_eq!(seen.code, Some(0), "{}", seen.screen);
    assert!(seen.stdout.starts_with("ws://") && seen.stdout.ends_with("/prod\n"), "{:?}", seen.stdout);
    assert!(!seen.screen.contains(seen.stdout.trim()), "the URL is on the terminal as well");
    assert!(seen.screen.contains("✓ table chat-connections"), "{}", seen.screen);
}

#[tokio::test]
async fn a_terminal_too_small_for_it_all() {
    let server = ministack().await;
    let run = OnTerminal::start(server, "up", (8, 30), false, &[]);
    let seen = tokio::task::spawn_blocking(|| run.finish()).await.unwrap();
    assert_eq!(seen.code, Some(0), "{}", seen.screen);
    assert!(seen.raw.contains("ws://"), "{}", seen.screen);
}

#[tokio::test]
async fn a_dumb_terminal_gets_plain_lines() {
    let server = ministack().await;
    let run = OnTerminal::start(server, "up --color never", (40, 100), false, &[("TERM", "dumb")]);
    let seen = tokio::task::spawn_blocking(|| run.finish()).await.unwrap();
    assert_eq!(seen.code, Some(0), "{}", seen.screen);
    assert!(!seen.raw.contains('\u{1b}'), "{:?}", seen.raw);
    assert!(seen.screen.contains("table chat-connections: created"), "{}", seen.screen);
}

/// The terminal goes while it works: it stops as if interrupted, or was done before it noticed. It does not panic,
/// which would be 101, and it is not killed.
#[tokio::test]
async fn a_closed_terminal_is_an_interrupt() {
    let server = ministack().await;
    let mut run = OnTerminal::start(server, "up", (40, 100), false, &[]);
    let ended = tokio::task::spawn_blocking(move || {
        let mut byte = [0; 1];
        // It has begun.
        assert_eq!(run.pty.read(&mut byte).unwrap(), 1);
        drop(run.pty);
        run.child.wait().unwrap().code()
    });
    let code = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends").unwrap();
    assert!([Some(130), Some(0)].contains(&code), "{code:?}");
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    let server = ministack().await;
    let account = server.account();
    for line in ["man", "completions zsh", "--help", "plan", "status"] {
        // The pipe is closed before anything is written to it.
        let script = format!("exec 3> >(true); wait $!; {PROGRAM} {line} >&3; echo $? >&2");
        let ended = chatctl("/bin/bash").args(["-c", &script]).account(server, &account).run().await.expect(0);
        let code = ended.stderr.lines().last().unwrap();
        assert!(["0", "4"].contains(&code), "`{line}` ends with {code}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{line}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn closed_streams_are_no_error() {
    let server = ministack().await;
    let script = format!("{PROGRAM} up >&- 2>&- <&- && {PROGRAM} up && {PROGRAM} down >&- 2>&-");
    let run = chatctl("/bin/bash").args(["-c", &script]).account(server, &server.account());
    let ended = run.run().await.expect(0);
    assert!(ended.stderr.starts_with("nothing to change"), "{}", ended.stderr);
}
