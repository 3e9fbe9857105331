//! What people install: made of the binary that the tests have, installed without a network, used as they would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{DataDir, Folder, Proxy, chatctl, data_dir, eventually, ministack};
use tokio::process::Command;
use tokio::sync::OnceCell;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn target() -> String {
    let libc = if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-gnu" };
    format!("{}-{libc}", std::env::consts::ARCH)
}

async fn ran(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(180), output).await.expect("it ends in time").unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", command.as_std());
    stdout.into_owned()
}

fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(REPOSITORY).join("scripts").join(name)).current_dir(REPOSITORY);
    command
}

/// All packages of this platform, in a new folder. Compressed little: the binary of a debug build is large.
async fn packed() -> Folder {
    let folder = Folder::new();
    let licences = folder.0.join("licences");
    fs::write(&licences, ran(script("licences.py").arg(target())).await).unwrap();
    let mut binary = script("package.py");
    binary.args(["binary", PROGRAM, "--level", "1", "--target", &target(), "--licences"]).arg(&licences);
    ran(binary.arg("--out").arg(&folder.0)).await;
    ran(script("package.py").args(["launcher", "--out"]).arg(&folder.0)).await;
    ran(script("package.py").arg("sums").arg(&folder.0)).await;
    folder
}

/// The packages that the tests of this process share, below `target/` until the next run.
async fn packages() -> &'static Path {
    static SHARED: OnceCell<PathBuf> = OnceCell::const_new();
    let make = || async {
        let place = data_dir().join("packages");
        let made = packed().await;
        let _ = fs::remove_dir_all(&place);
        fs::rename(&made.0, &place).unwrap();
        place
    };
    SHARED.get_or_init(make).await
}

fn named(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// A new environment of Python with the wheel in it; its `chatctl`.
async fn installed_wheel(folder: &Folder) -> String {
    let venv = folder.0.join("venv");
    ran(Command::new("python3").args(["-m", "venv"]).arg(&venv)).await;
    let mut install = Command::new(venv.join("bin/pip"));
    install.args(["install", "--disable-pip-version-check", "--no-index", "--find-links"]).arg(packages().await);
    ran(install.arg("chatctl")).await;
    venv.join("bin/chatctl").display().to_string()
}

/// A project of npm with the packages in it; its `chatctl`.
async fn installed_npm(folder: &Folder) -> String {
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund", "--cache"]).arg(folder.0.join("cache"));
    ran(install.args(named(packages().await, ".tgz")).current_dir(&folder.0)).await;
    folder.0.join("node_modules/.bin/chatctl").display().to_string()
}

/// From nothing to nothing, with real clients between.
async fn deploys_and_leaves_nothing(program: &str) {
    let data = DataDir::new().await;
    for line in ["up --local -q", "verify --local -q", "down --local -q", "local stop -q"] {
        chatctl(program).data_dir(&data).args(line.split(' ')).run().await.expect(0);
    }
    chatctl(program).args(["status", "--nonsense"]).run().await.expect(2);
}

/// A signal in the middle of `up` ends it as it ends the binary itself, and nothing runs on.
async fn ends_upon_a_signal(program: &str) {
    let server = ministack().await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let proxy = Proxy::start(server.url(), Duration::from_millis(200)).await;
        let account = server.account();
        let run = chatctl(program).args(["up"]).credentials(&proxy.url, &account, "local").start().await;
        eventually("writes have begun", || async { proxy.calls().iter().any(support::Call::is_write) }).await;
        run.signal(signal);
        let ended = run.finish().await.expect(130);
        assert!(ended.stderr.contains("exists now: "), "{}", ended.stderr);
        let calls = proxy.calls().len();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(proxy.calls().len(), calls, "something still runs after {signal}");
    }
}

#[tokio::test]
async fn the_same_binary_gives_the_same_bytes() {
    let (one, other) = (packages().await, packed().await);
    assert_eq!(fs::read_to_string(one.join("SHA256SUMS")).unwrap().lines().count(), 4);
    for file in ["SHA256SUMS", &format!("{VERSION}.txt")] {
        assert_eq!(fs::read_to_string(one.join(file)).unwrap(), fs::read_to_string(other.0.join(file)).unwrap());
    }
}

#[tokio::test]
async fn the_wheel_installs_without_a_network_and_works() {
    let folder = Folder::new();
    let program = installed_wheel(&folder).await;
    deploys_and_leaves_nothing(&program).await;
    ends_upon_a_signal(&program).await;
}

#[tokio::test]
async fn the_npm_packages_install_without_a_network_and_work() {
    let folder = Folder::new();
    let program = installed_npm(&folder).await;
    deploys_and_leaves_nothing(&program).await;
    ends_upon_a_signal(&program).await;
}

/// A pipeline sees how the binary ended, not that the launcher ended well.
#[tokio::test]
async fn the_launcher_ends_by_the_signal_that_ended_the_binary() {
    use std::os::unix::process::ExitStatusExt;
    let folder = Folder::new();
    installed_npm(&folder).await;
    let binary = named(&folder.0.join("node_modules/@chatctl"), "").remove(0).join("chatctl");
    fs::write(&binary, "#!/bin/sh\nkill -KILL $$\n").unwrap();
    let mut launcher = Command::new("node").arg(folder.0.join("node_modules/chatctl/chatctl.js")).spawn().unwrap();
    assert_eq!(launcher.wait().await.unwrap().signal(), Some(Signal::SIGKILL as i32));
    fs::remove_file(&binary).unwrap();
    let mut launcher = Command::new("node");
    let ended = launcher.arg(folder.0.join("node_modules/chatctl/chatctl.js")).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("error: npm has installed no chatctl for"), "{ended:?}");
}

#[tokio::test]
async fn every_artefact_has_the_licences_of_all_that_is_in_it() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--target", &target()]);
    let tree = ran(tree.args(["--package", "chatctl"]).current_dir(REPOSITORY)).await;
    let listing = "import sys, tarfile, zipfile\n\
                   for path in sys.argv[1:]:\n    \
                   is_wheel = path.endswith('.whl')\n    \
                   file = zipfile.ZipFile(path) if is_wheel else tarfile.open(path)\n    \
                   names = file.namelist() if is_wheel else file.getnames()\n    \
                   third = next(name for name in names if name.endswith('/THIRD-PARTY.txt'))\n    \
                   assert {name.rsplit('/')[-1] for name in names} >= {'LICENSE-APACHE', 'LICENSE-MIT'}, names\n    \
                   print((file.open(third) if is_wheel else file.extractfile(third)).read().decode())";
    let folder = packages().await;
    let mut holding: Vec<PathBuf> = [".gz", ".whl", ".tgz"].iter().flat_map(|ending| named(folder, ending)).collect();
    // The launcher holds nobody else's code.
    holding.retain(|path| !path.ends_with(format!("chatctl-{VERSION}.tgz")));
    assert_eq!(holding.len(), 3, "{holding:?}");
    for file in holding {
        let text = ran(Command::new("python3").args(["-c", listing]).arg(&file)).await;
        let mut count = 0;
        for package in tree.lines().filter(|line| !line.contains('(') || line.ends_with("(proc-macro)")) {
            let mut words = package.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
            assert!(text.contains(&format!("\n{name} {version}: ")), "{package} is missing in {}", file.display());
            count += 1;
        }
        assert!(count > 100, "only {count} packages were found");
    }
}

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
    release.stand_in("cargo", &cargo);
    release.stand_in("cargo-zigbuild", "");
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
