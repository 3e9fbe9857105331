//! How long an edit takes to be live with `chatctl dev`: from the write of the file to the first answer of the new code.
//!
//! `cargo run --example edit -- target/release/chatctl`

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Client, DataDir, Folder};

const EDITS: usize = 25;

fn handler(nth: usize) -> String {
    format!("export const handler = async () => ({{ statusCode: 200, body: 'version {nth}' }});\n")
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let program = std::env::args().nth(1).ok_or_else(|| std::io::Error::other("which chatctl?"))?;
    let program = fs::canonicalize(program)?;
    let (folder, data) = (Folder::new(), DataDir::new().await);
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).current_dir(&folder.0).env("CHATCTL_DATA_DIR", data.path());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        command
    };
    run(&["init", "--example", "echo"]).status()?;
    let file = folder.0.join("lambda/echo.mjs");
    fs::write(&file, handler(0))?;
    let mut dev = run(&["dev"]).spawn()?;
    let mut url = String::new();
    BufReader::new(dev.stdout.take().ok_or_else(|| std::io::Error::other("no stdout"))?).read_line(&mut url)?;
    let mut client = Client::connect(url.trim()).await;
    let mut took = Vec::new();
    for nth in 1..=EDITS {
        // As people do it: the one before is over.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1_500..2_500))).await;
        let new = format!("version {nth}");
        fs::write(&file, handler(nth))?;
        let began = Instant::now();
        loop {
            client.send(r#"{"action":"echo"}"#).await;
            if client.hear().await == new {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took.push(began.elapsed().as_millis());
    }
    took.sort_unstable();
    println!(
        "{EDITS} edits: {} ms at least, {} ms in the middle, {} ms at most",
        took[0],
        took[EDITS / 2],
        took[EDITS - 1]
    );
    dev.kill()?;
    dev.wait()?;
    Ok(())
}
