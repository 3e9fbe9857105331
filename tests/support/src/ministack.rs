//! A MiniStack of the tests' own, with as many empty accounts as they ask for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Builder;
use chatctl::local::{Endpoint, Installation, Lifetime, Server, install};
use tokio::process::Child;
use tokio::sync::OnceCell;

use crate::{Folder, Told, data_dir, env, turn};

/// A running MiniStack that enforces IAM. An access key of twelve digits is the root user of that account; it may do
/// all, and its secret is not looked at. Every other key is checked: signature, policies and boundary.
pub struct Ministack {
    pub endpoint: Endpoint,
    record: PathBuf,
    /// The server lives no longer than this.
    _child: Child,
}

/// The one that all tests of this process share; each takes an account of its own.
pub async fn ministack() -> &'static Ministack {
    static SHARED: OnceCell<Ministack> = OnceCell::const_new();
    SHARED.get_or_init(shared).await
}

/// It is never dropped, so its log is shown by the test that fails.
async fn shared() -> Ministack {
    let ministack = private_ministack().await;
    let log = ministack.endpoint.log.clone();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        eprintln!("the log of MiniStack:\n{}", fs::read_to_string(&log).unwrap_or_default());
    }));
    ministack
}

/// MiniStack, not running; the first test that asks for it fetches it.
pub async fn installation() -> Installation {
    let home = data_dir().join("local");
    fs::create_dir_all(&home).expect("the target folder can be written to");
    // The lock that `chatctl` itself takes.
    let _turn = turn("local/lock").await;
    install(&home, &env(), &Told).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A `CHATCTL_DATA_DIR` of a test's own, in which the local AWS is installed but does not run. What was started there
/// ends with this.
pub struct DataDir(Folder);

impl DataDir {
    pub async fn new() -> Self {
        let folder = Folder::new();
        let home = folder.0.join("local");
        fs::create_dir(&home).expect("the target folder can be written to");
        let installed = installation().await.folder;
        let name = installed.file_name().expect("it has a name");
        linked(&installed, &home.join(name));
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0.0
    }
}

/// The same files in folders of their own, as closed as those: no link to a folder is trusted.
fn linked(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the target folder can be written to");
    let mode = fs::metadata(from).expect("it is there").permissions();
    fs::set_permissions(to, mode).expect("it is ours");
    for entry in fs::read_dir(from).expect("it can be read").flatten().filter(|entry| entry.file_name() != "run") {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("it is there") {
            kind if kind.is_dir() => linked(&from, &to),
            kind if kind.is_symlink() => {
                symlink(fs::read_link(&from).expect("it is a link"), &to).expect("links can be made");
            }
            _ => fs::hard_link(&from, &to).expect("files can be linked"),
        }
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let server = Server::at(self.path().join("local/instance.json"));
        let stop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(server.stop()))
        };
        // Not on this thread: a runtime of the test's may be at work here.
        let _ = std::thread::spawn(stop).join();
    }
}

/// One that no other test uses.
pub async fn private_ministack() -> Ministack {
    let installation = installation().await;
    let record = data_dir().join(format!("ministack-{:016x}.json", fastrand::u64(..)));
    let launched = Server::at(record.clone()).launch(&installation, &env(), Lifetime::WithChild).await;
    let (endpoint, child) = launched.unwrap_or_else(|error| panic!("{error}"));
    Ministack { endpoint, record, _child: child }
}

impl Ministack {
    pub fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// The id of an account that nobody has used, which is also the access key of its root user.
    pub fn account(&self) -> String {
        fastrand::u64(100_000_000_000..1_000_000_000_000).to_string()
    }

    /// An SDK configuration for the root user of `account`.
    pub fn sdk_config(&self, account: &str) -> SdkConfig {
        sdk_config(self.url(), account, "local")
    }

    /// A new IAM user of `account` who may do what `policy` (JSON) says; returns access key and secret.
    pub async fn user_with_policy(&self, account: &str, policy: &str) -> (String, String) {
        let iam = aws_sdk_iam::Client::new(&self.sdk_config(account));
        let name = format!("user-{:08x}", fastrand::u32(..));
        iam.create_user().user_name(&name).send().await.expect("users can be created");
        let put = iam.put_user_policy().user_name(&name).policy_name("test").policy_document(policy);
        put.send().await.expect("the policy is valid");
        let created = iam.create_access_key().user_name(&name).send().await.expect("access keys can be created");
        let key = created.access_key.expect("the answer has the key");
        (key.access_key_id, key.secret_access_key)
    }

    /// What it has logged so far: warnings and errors.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.endpoint.log).unwrap_or_default()
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of MiniStack:\n{}", self.log());
        }
        remove_record(&self.record);
    }
}

fn remove_record(record: &Path) {
    let _ = fs::remove_file(record);
    let _ = fs::remove_file(format!("{}.lock", record.display()));
}

/// An SDK configuration for `url` that knows nothing of this machine's own AWS settings.
pub fn sdk_config(url: &str, access_key: &str, secret: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, secret, None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(chatctl::local::REGION))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Builder::new().build_http())
        .sleep_impl(TokioSleep::new())
        .build()
}
