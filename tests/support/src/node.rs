//! Test tools from npm, pinned by hash, in a folder of their own below `target/`.

use std::fs;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{data_dir, turn};

const PACKAGE: &str = include_str!("../package.json");
const LOCK: &str = include_str!("../package-lock.json");

/// The script of axe-core, which finds what in a page keeps people out; the first test that asks for it fetches it.
pub async fn axe() -> String {
    let hash = Sha256::digest(LOCK).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    let folder = data_dir().join(format!("npm-{hash}"));
    let script = folder.join("node_modules/axe-core/axe.min.js");
    let _turn = turn("npm.lock").await;
    if !script.exists() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
            fs::write(folder.join(name), text).expect("the target folder can be written to");
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder).kill_on_drop(true);
        let output = npm.output().await.expect("there is npm");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    fs::read_to_string(script).expect("axe-core has its script")
}
