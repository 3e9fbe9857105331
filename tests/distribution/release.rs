//! The steps of a release, with stand-ins for what builds and publishes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::Folder;
use tokio::process::Command;

use super::packages::{named, target};
use super::{REPOSITORY, VERSION};

/// A checkout in which the steps of a release run, with stand-ins for what builds and publishes.
struct Release(Folder);

impl Release {
    fn new(changelog: &str) -> Self {
        let folder = Folder::new();
        let repository = Path::new(REPOSITORY);
        std::os::unix::fs::symlink(repository.join("scripts"), folder.0.join("scripts")).unwrap();
        fs::copy(repository.join("Cargo.toml"), folder.0.join("Cargo.toml")).unwrap();
        fs::write(folder.0.join("CHANGELOG.md"), changelog).unwrap();
        fs::create_dir(folder.0.join("bin")).unwrap();
        Self(folder)
    }

    fn stand_in(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.0.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >> {}\n{script}\n", self.log().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.0.0.join("log")
    }

    /// The lines that the stand-ins were called with since the last look.
    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let _ = fs::remove_file(self.log());
        log.lines().map(str::to_owned).collect()
    }

    /// What a step prints, or the last line of its error.
    async fn step(&self, arguments: &str) -> Result<String, String> {
        let mut command = Command::new(self.0.0.join("scripts/release"));
        command.args(arguments.split(' ')).stdin(Stdio::null());
        command.env("PATH", format!("{}:{}", self.0.0.join("bin").display(), std::env::var("PATH").unwrap()));
        command.env("CARGO_TARGET_DIR", self.0.0.join("target"));
        let ended = command.output().await.unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        let failed = || stderr.lines().last().unwrap_or_default().to_owned();
        ended.status.success().then(|| String::from_utf8(ended.stdout).unwrap()).ok_or_else(failed)
    }
}

#[tokio::test]
async fn the_notes_of_a_release_are_those_of_its_version() {
    let release = Release::new(&format!(
        "# Changelog\n\n## [Unreleased]\n\n- later\n\n## [{VERSION}] - 2030-01-01\n\n### Added\n\n- this\n\n## [0.0.1]\n\n- before\n"
    ));
    let tag = format!("notes v{VERSION}");
    assert_eq!(release.step(&tag).await.unwrap(), "### Added\n\n- this\n");
    let error = release.step("notes v9.9.9").await.unwrap_err();
    assert_eq!(error, format!("error: the tag is `v9.9.9`, and the version in Cargo.toml is `{VERSION}`"));
    let error = Release::new("## [Unreleased]\n\n- later\n").step(&tag).await.unwrap_err();
    assert_eq!(error, format!("error: CHANGELOG.md says nothing of `{VERSION}`"));
}

#[tokio::test]
async fn a_release_builds_completes_and_publishes_what_is_not_there_yet() {
    let release = Release::new(&format!("## [{VERSION}]\n\n- this\n"));
    let dist = release.0.0.join("dist");
    let built = release.0.0.join("target").join(target()).join("release");
    let cargo = format!(
        "[ $1 = metadata ] && cd {REPOSITORY} && exec {} \"$@\"\n\
         mkdir -p {built} && printf '#!/bin/sh\\necho it runs\\n' > {built}/chatctl && chmod +x {built}/chatctl",
        env!("CARGO"),
        built = built.display()
    );
    release.stand_in("cargo-zigbuild", "");
    if cfg!(target_os = "linux") {
        release.stand_in("cargo", &cargo.replace("runs\\n'", "runs\\nexit\\n\\0GLIBC_2.28\\0'"));
        let error = release.step(&format!("build {}", target())).await.unwrap_err();
        assert_eq!(error, format!("error: this binary for `{}` needs a newer glibc than 2.17", target()));
        fs::remove_dir_all(&dist).unwrap();
        release.calls();
    }
    release.stand_in("cargo", &cargo);
    let printed = release.step(&format!("build {}", target())).await.unwrap();
    assert_eq!(printed, "it runs\n");
    let (verb, glibc) = if cfg!(target_os = "macos") { ("build", "") } else { ("zigbuild", ".2.17") };
    assert_eq!(
        release.calls()[0],
        format!("cargo {verb} --package chatctl --release --locked --target {}{glibc}", target())
    );
    for (ending, count) in [(".tar.gz", 1), (".whl", 1), (".tgz", 1), ("licences", 0)] {
        assert_eq!(named(&dist, ending).len(), count, "{ending}");
    }

    let error = release.step("complete").await.unwrap_err();
    assert!(error.starts_with("error: nothing was built for `"), "{error}");
    for machine in ["x86_64", "aarch64"] {
        for system in ["unknown-linux-gnu", "unknown-linux-musl", "apple-darwin"] {
            let archive = dist.join(format!("chatctl-{machine}-{system}.tar.gz"));
            fs::OpenOptions::new().create(true).append(true).open(archive).unwrap();
        }
    }
    release.step("complete").await.unwrap();
    assert_eq!(fs::read_to_string(dist.join("SHA256SUMS")).unwrap().lines().count(), 9);

    // The launcher comes last: at no moment does it ask for what is not there.
    release.stand_in("npm", "[ $1 = publish ]");
    release.step("npm").await.unwrap();
    let published: Vec<String> = release.calls().into_iter().filter(|call| call.starts_with("npm publish")).collect();
    assert_eq!(published.len(), 2, "{published:?}");
    assert!(published[0].starts_with("npm publish dist/chatctl-"), "{published:?}");
    assert_eq!(published[1], format!("npm publish dist/chatctl-{VERSION}.tgz --access public"));
    release.stand_in("npm", &format!("[ \"$2\" = chatctl@{VERSION} ] || [ $1 = publish ]"));
    assert!(release.step("npm").await.unwrap().contains(&format!("chatctl {VERSION} is there already\n")));
    assert!(!release.calls().contains(&published[1]));
    release.stand_in("npm", "exit 1");
    release.step("npm").await.unwrap_err();
    release.calls();

    release.stand_in("gh", "cat > notes");
    release.step(&format!("github v{VERSION}")).await.unwrap();
    let calls = release.calls();
    let begin = format!("gh release create v{VERSION} --verify-tag --title v{VERSION} --notes-file - dist/");
    assert!(calls[0].starts_with(&begin) && calls[0].contains(" dist/SHA256SUMS"), "{calls:?}");
    assert_eq!(fs::read_to_string(release.0.0.join("notes")).unwrap(), "- this\n");
}

/// What the workflows of the project run is in scripts, which run here, too; and whom they trust is pinned.
#[tokio::test]
async fn the_workflows_of_the_project_only_call_scripts() {
    for name in ["ci", "release"] {
        let text = fs::read_to_string(Path::new(REPOSITORY).join(format!(".github/workflows/{name}.yml"))).unwrap();
        assert!(text.contains("\npermissions: {}\n"), "{name}");
        let values = |key: &str| -> Vec<String> {
            let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
            lines.filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect()
        };
        let scripts = values("run: ");
        assert!(!scripts.is_empty());
        for script in scripts {
            let known = ["scripts/release ", ".ci/run", "rustup toolchain install "];
            assert!(known.iter().any(|begin| script.starts_with(begin)) && !script.contains("${{"), "{script}");
        }
        for used in values("uses: ") {
            let commit = used.split(['@', ' ']).nth(1).unwrap_or_default();
            assert!(used.starts_with("$/") || (commit.len() == 40 && used.contains(" # v")), "{used}");
        }
    }
}
