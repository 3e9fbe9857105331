//! Which `chatctl` the action takes: that on the path, the released wheel by its hashes, or one that it builds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use super::pipeline::{Project, went_well, write_program};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");

async fn python(args: &[&str]) -> String {
    let output = Command::new("python3").args(args).current_dir(REPOSITORY).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A machine without `chatctl`, and the action at a commit that knows the hashes of this version's wheel; where that is.
async fn released() -> (Project, PathBuf) {
    let mut project = Project::without_chatctl().await;
    let folder = &project.folder.0;
    let interpreter = python(&["-c", "import sys; print(sys.executable)"]).await;
    write_program(&folder.join("bin/python3"), &format!("#!/bin/sh\nexec {interpreter} \"$@\"\n"));
    let (dist, binary, licences) = (folder.join("dist"), folder.join("chatctl"), folder.join("licences"));
    write_program(&binary, &format!("#!/bin/sh\nexec {PROGRAM} \"$@\"\n"));
    fs::write(&licences, "none\n").unwrap();
    let [dist_, binary, licences] = [&dist, &binary, &licences].map(|path| path.to_str().unwrap());
    let target = format!(
        "{}-{}",
        std::env::consts::ARCH,
        if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-gnu" }
    );
    let make = ["scripts/package.py", "binary", binary, "--target", &target, "--licences", licences, "--out", dist_];
    python(&make).await;
    python(&["scripts/package.py", "sums", dist_]).await;
    let action = folder.join("action");
    fs::create_dir_all(action.join("wheels")).unwrap();
    for file in ["action.yml", "Cargo.toml", "Cargo.lock", "scripts", "src", "lambda", "templates"] {
        symlink(Path::new(REPOSITORY).join(file), action.join(file)).unwrap();
    }
    let pins = format!("{VERSION}.txt");
    fs::copy(dist.join(&pins), action.join("wheels").join(&pins)).unwrap();
    project.env = json!({ "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": dist, "PIP_CONFIG_FILE": "/dev/null" });
    project.action = action;
    (project, dist)
}

/// A job with the action in it, and that tells which program it has then.
async fn job(project: &Project, with: Value) -> Value {
    let steps =
        json!([{ "uses": "OWNER/chatctl@main", "with": with }, { "run": "echo \"taken: $(command -v chatctl)\"" }]);
    let file = project.folder.0.join("workflow.yml");
    fs::write(&file, json!({ "jobs": { "job": { "steps": steps } } }).to_string()).unwrap();
    project.run(json!({ "kind": "github", "file": file, "github": {}, "vars": {} })).await
}

#[track_caller]
fn took(report: &Value, program: &Path) {
    went_well(report);
    let log = report["log"].as_str().unwrap();
    assert!(log.contains(&format!("taken: {}", program.display())), "{log}");
}

fn was_built(project: &Project) -> bool {
    project.folder.0.join("cargo.log").exists()
}

#[tokio::test]
async fn the_action_takes_the_released_wheel_by_its_hashes() {
    let (project, dist) = released().await;
    let tools = project.folder.0.join("tools");
    let installed = async |with: Value| {
        let report = job(&project, with).await;
        took(&report, &tools.join("chatctl-"));
        report["log"].as_str().unwrap().to_owned()
    };
    assert!(installed(json!({ "verb": "plan" })).await.contains("25 to create"));
    // From then on nothing is fetched.
    fs::remove_dir_all(dist).unwrap();
    installed(json!({ "verb": "install", "version": VERSION })).await;
    // Another version on the path is left aside, and one that was asked for is not.
    let found = project.folder.0.join("bin/chatctl");
    write_program(&found, "#!/bin/sh\necho chatctl 0.0.9\n");
    installed(json!({ "verb": "plan", "version": VERSION })).await;
    took(&job(&project, json!({ "verb": "install", "version": "0.0.9" })).await, &found);
    took(&job(&project, json!({ "verb": "install" })).await, &found);
    assert_eq!(fs::read_dir(tools).unwrap().count(), 1, "what was begun is either whole or gone");
    assert!(!was_built(&project));
}

#[tokio::test]
async fn a_wheel_that_is_not_the_released_one_is_refused() {
    let (project, dist) = released().await;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let wheel = fs::read_dir(dist).unwrap().map(|entry| entry.unwrap().path()).find(is_wheel).unwrap();
    let mut bytes = fs::read(&wheel).unwrap();
    bytes.push(0);
    fs::write(&wheel, bytes).unwrap();
    let report = job(&project, json!({ "verb": "plan" })).await;
    let log = report["log"].as_str().unwrap();
    assert!(report["failed"] == true && log.contains("DO NOT MATCH THE HASHES"), "{log}");
    assert_eq!(fs::read_dir(project.folder.0.join("tools")).unwrap().count(), 0);
    assert!(!was_built(&project));
}

#[tokio::test]
async fn a_version_that_the_action_does_not_know_is_an_error_and_its_own_is_built() {
    let (project, _) = released().await;
    for version in ["9.9.9", "../../etc/passwd"] {
        let report = job(&project, json!({ "verb": "plan", "version": version })).await;
        let error = format!(
            "::error title=chatctl::this commit of the action knows no chatctl `{version}`, only `{VERSION}` and"
        );
        assert!(report["failed"] == true && report["log"].as_str().unwrap().contains(&error), "{report}");
    }
    assert!(!was_built(&project));
    fs::remove_dir_all(project.action.join("wheels")).unwrap();
    went_well(&job(&project, json!({ "verb": "plan", "version": VERSION })).await);
    assert!(was_built(&project));
}
