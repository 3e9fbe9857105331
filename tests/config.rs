//! `chatctl.toml`: what is wrong in it is told with its place, and nothing in it makes the program panic.

use std::fs;

use chatctl::config::{Config, Name, Settings, duration};
use chatctl::error::{Error, Exit};
use proptest::prelude::*;
use support::settings::SETTINGS;
use support::{Folder, silent_host};

fn resolve(folder: &Folder, file: &[u8], flags: Settings) -> Result<Config, Error> {
    fs::write(folder.0.join("chatctl.toml"), file).unwrap();
    Config::resolve(flags, &silent_host(&folder.0))
}

#[test]
fn an_error_tells_its_place_and_what_was_probably_meant() {
    let folder = Folder::new();
    for (file, place, says, hint) in [
        ("stgae = \"x\"", "1:1", "unknown field `stgae`", Some("`stage`")),
        ("name = \"a\"\n\n  log-retention-day = 3", "3:3", "unknown field", Some("`log-retention-days`")),
        ("memroy = 1", "1:1", "unknown field", Some("`memory`")),
        ("Name = \"a\"", "1:1", "unknown field", Some("`name`")),
        ("log_retention_days = 3", "1:1", "unknown field", Some("`log-retention-days`")),
        ("permission-boundary = \"x\"", "1:1", "unknown field", Some("`permissions-boundary`")),
        ("zzz = 1", "1:1", "unknown field `zzz`", None),
        ("memory = \"256\"", "1:10", "invalid type", None),
        ("name = \"ü\" \nmemory = 1.5", "2:10", "invalid type", None),
        ("[tags]\nteam = 7", "2:8", "invalid type", None),
        ("tags = \"team=chat\"", "1:8", "invalid type", None),
        ("name = \"a\"\nname = \"b\"", "2:1", "duplicate key", None),
        ("name = ", "1:8", "", None),
        ("quiet = true", "1:1", "unknown field `quiet`", None),
    ] {
        let error = resolve(&folder, file.as_bytes(), Settings::default()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains(&format!("chatctl.toml:{place}: ")), "{file}: {}", error.message);
        assert!(error.message.contains(says), "{file}: {}", error.message);
        let expected = hint.map(|key| format!("did you mean {key}?"));
        assert_eq!(error.hint, expected, "{file}");
    }
}

#[test]
fn a_route_that_cannot_be_is_told_with_its_place_and_the_rule() {
    let folder = Folder::new();
    for (file, place, says) in [
        ("[routes.join]\nhandlr = \"x\"", "2:1", "unknown field `handlr`"),
        ("[routes.\"a b\"]\n", "1:9", "`a b` is not a valid route: it has characters other than"),
        ("stage = \"x\"\n[routes.\"$join\"]\n", "2:9", "`$` begins only"),
        ("[routes.join]\nhandler = \"a-b\"", "2:11", "`a-b` is not a valid name of a function: it has characters"),
        ("[routes.join-a-room]\nposts = true", "1:9", "`join-a-room` is not a valid name of a function"),
        ("[routes.a_very_long_route]", "1:9", "longer than 14 characters"),
        ("[routes.join]\ntable = \"all\"", "2:9", "unknown variant `all`"),
        ("[routes.join]\n\n  memory = 64", "3:12", "64 is not a valid memory"),
        ("[routes.join]\ntimeout = 26", "2:11", "26 is not a valid timeout: it takes 1 to 25 seconds"),
        ("[routes.join]\nrate = 5", "1:9", "needs both `rate` and `burst`"),
        ("[routes.join]\nrate = 0\nburst = 1", "2:8", "0 is not a valid rate"),
        ("[routes.join]\nenvironment = { TABLE_NAME = \"x\" }", "2:17", "it is set by chatctl"),
        ("[routes.join]\nenvironment = { AWS_REGION = \"x\" }", "2:17", "set by Lambda"),
        ("[routes.\"$disconnect\"]\nreply = true", "2:9", "answers no message"),
        (
            "[routes.\"$connect\"]\nschema = \"x.json\"",
            "2:10",
            "`$connect` carries no message that a schema could check",
        ),
        ("[routes.join]\nenvironment = { \"2\" = \"x\" }", "2:17", "it begins with a letter"),
        ("[routes.a]\nhandler = \"join\"\n[routes.b]\nhandler = \"Join\"", "4:11", "functions `join` and `Join`"),
        ("table-indexes = [\"room\", \"id\"]", "1:26", "`id` is not a valid index of the table: it takes 3 to 64"),
        ("table-indexes = [\"room\", \"room\"]", "1:26", "it is there twice"),
        ("table-indexes = [\"connectionId\"]", "1:18", "the key of the table itself"),
        ("[routes.a]\nhandler = \"onconnect\"", "2:11", "functions `onConnect` and `onconnect`"),
        (
            "[routes.a]\nhandler = \"x\"\nmemory = 256\n[routes.b]\nhandler = \"x\"\nmemory = 512",
            "6:10",
            "another `memory`",
        ),
    ] {
        let error = resolve(&folder, file.as_bytes(), Settings::default()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage, "{file}");
        assert!(error.message.contains(&format!("chatctl.toml:{place}: ")), "{file}: {}", error.message);
        assert!(error.message.contains(says), "{file}: {}", error.message);
    }
    let large = format!("[routes.join]\nenvironment = {{ A = \"{}\" }}", "x".repeat(4096));
    let error = resolve(&folder, large.as_bytes(), Settings::default()).unwrap_err();
    assert!(error.message.contains("chatctl.toml:2:21: the environment of `join` is too large"), "{}", error.message);
}

#[test]
fn rights_of_routes_that_share_a_handler_add_up() {
    let folder = Folder::new();
    let file =
        "[routes.a]\nhandler = \"x\"\ntable = \"read\"\n[routes.b]\nhandler = \"x\"\ntable = \"write\"\nposts = true";
    let config = resolve(&folder, file.as_bytes(), Settings::default()).unwrap();
    let function = config.app.function("x").unwrap();
    assert_eq!((function.table_actions.len(), function.posts_to_connections), (8, true));
    assert_eq!(config.app.functions().len(), 4);
    assert!(config.app.routes().iter().filter(|route| route.function.as_str() == "x").count() == 2);
}

/// Whoever could make up the issuer's keys could make up anybody.
#[test]
fn an_issuer_is_reached_by_tls_or_is_this_machine() {
    let folder = Folder::new();
    let with = |issuer: &str| {
        let file = format!("authorizer = \"jwt\"\njwt-audience = \"chat\"\njwt-issuer = \"{issuer}\"");
        resolve(&folder, file.as_bytes(), Settings::default()).map_err(|error| error.message)
    };
    for good in [
        "https://issuer.example",
        "https://issuer.example/",
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a1B2c3",
        "https://login.example:8443/tenant/v2.0",
        "http://127.0.0.1:4000",
        "http://localhost:4000/realms/chat",
        "http://[::1]:4000",
    ] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in [
        "issuer.example",
        "http://issuer.example",
        "http://127.0.0.1.issuer.example",
        "http://127.0.0.1@issuer.example",
        "http://localhost.issuer.example",
        "http://127.0.0.2",
        "http://0.0.0.0:4000",
        "http://10.0.0.1",
        "http://169.254.169.254/latest",
        "http://[::ffff:10.0.0.1]",
        "https://user:secret@issuer.example",
        "https://issuer.example?tenant=1",
        "https://issuer.example#keys",
        "https://",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "",
        " https://issuer.example",
        &format!("https://issuer.example/{}", "x".repeat(512)),
    ] {
        assert!(with(bad).unwrap_err().contains("not a valid issuer"), "{bad}");
    }
}

#[test]
fn the_function_that_checks_tokens_has_a_name_that_no_handler_may_have() {
    let folder = Folder::new();
    let file = "authorizer = \"jwt\"\njwt-audience = \"chat\"\njwt-issuer = \"https://issuer.example\"\n";
    let config = resolve(&folder, file.as_bytes(), Settings::default()).unwrap();
    let function = config.app.authorizer().unwrap();
    assert_eq!(function.name.as_str(), "authorizer");
    assert!(function.table_actions.is_empty() && !function.posts_to_connections);
    let taken = format!("{file}[routes.x]\nhandler = \"Authorizer\"\n");
    let error = resolve(&folder, taken.as_bytes(), Settings::default()).unwrap_err();
    assert!(error.message.contains("chatctl.toml:5:11: `Authorizer` is the function that checks"), "{}", error.message);
    assert!(resolve(&folder, b"[routes.x]\nhandler = \"authorizer\"\n", Settings::default()).is_ok());
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let folder = Folder::new();
    let too_long = format!("description = \"{}\"", "ü".repeat(1025));
    let of_lengths = (too_long.as_str(), "not a valid description: it takes at most 1024 characters");
    let all: Vec<_> = SETTINGS.iter().flat_map(|setting| setting.refused).copied().chain([of_lengths]).collect();
    assert!(all.len() > 45, "only {}", all.len());
    for (file, says) in all {
        let error = resolve(&folder, file.as_bytes(), Settings::default()).unwrap_err();
        assert!(error.exit == Exit::Usage && error.message.contains(says), "{file}: {}", error.message);
    }
    assert!(resolve(&folder, b"name = \"\xff\"", Settings::default()).is_err());
}

#[test]
fn tags_take_every_letter_digit_and_space_that_iam_takes() {
    let folder = Folder::new();
    for text in ["é", "ß", "ǅ", "ʰ", "ª", "語", "٣", "Ⅷ", "½", "a b", "a\u{a0}b", "a\u{3000}b", "_.:/=+-@"] {
        let file = format!("[tags]\n\"{text}\" = \"{text}\"");
        let config = resolve(&folder, file.as_bytes(), Settings::default());
        assert!(config.is_ok(), "{text}: {}", config.unwrap_err().message);
    }
}

#[test]
fn a_settings_file_is_a_regular_file_of_at_most_1_mb() {
    let folder = Folder::new();
    let path = folder.0.join("chatctl.toml");
    let refused = || Config::resolve(Settings::default(), &silent_host(&folder.0)).unwrap_err().message;
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(refused().ends_with("it is no regular file"), "{}", refused());
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(refused().ends_with("it is no regular file"), "{}", refused());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert!(refused().ends_with("it has more than 1 MB"), "{}", refused());
    fs::write(&path, "#".repeat(1 << 20)).unwrap();
    assert!(Config::resolve(Settings::default(), &silent_host(&folder.0)).is_ok());
}

#[test]
fn a_flag_wins_over_the_file() {
    let folder = Folder::new();
    let flags = Settings { stage: Some("dev".to_owned()), ..Settings::default() };
    let config = resolve(&folder, b"name = \"file\"\nstage = \"file\"", flags).unwrap();
    assert_eq!((config.name.as_str(), config.stage.as_str()), ("file", "dev"));
}

const KEYS: [&str; 10] =
    ["name", "stage", "tags", "ttl", "memory", "timeout", "throttle-rate", "role-arns", "handlers", "region"];

fn value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(toml::Value::String),
        any::<i64>().prop_map(toml::Value::Integer),
        any::<f64>().prop_map(toml::Value::Float),
        any::<bool>().prop_map(toml::Value::Boolean),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let table = prop::collection::btree_map(any::<String>(), inner.clone(), 0..3);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(toml::Value::Array),
            table.prop_map(|table| toml::Value::Table(table.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_it_panic(file in any::<Vec<u8>>()) {
        let _ = resolve(&Folder::new(), &file, Settings::default());
    }

    #[test]
    fn no_text_makes_it_panic(file in "(name|stage|tags|ttl|[a-zü💬]{0,3}|[\\[\\]=\"'{}.,#\\\\\n\r\t 0-9-]){0,12}") {
        let _ = resolve(&Folder::new(), file.as_bytes(), Settings::default());
    }

    #[test]
    fn no_value_makes_it_panic(key in prop::sample::select(&KEYS), value in value()) {
        let file = toml::Table::from_iter([(key.to_owned(), value)]).to_string();
        if let Err(error) = resolve(&Folder::new(), file.as_bytes(), Settings::default()) {
            prop_assert_eq!(error.exit, Exit::Usage);
        }
    }

    #[test]
    fn no_flag_makes_it_panic(text in any::<String>()) {
        let texts = vec![text.clone(), format!("{text}=x"), format!("x={text}")];
        let flags = Settings {
            name: Some(text.clone()), stage: Some(text.clone()), tag: texts.clone(), ttl: Some(text.clone()),
            authorizer: Some(text.clone()), role_path: Some(text.clone()), role_arn: texts, region: Some(text.clone()),
            kms_key: Some(text.clone()), runtime: Some(text.clone()), ..Settings::default()
        };
        let _ = resolve(&Folder::new(), b"", flags);
        let _ = duration("ttl", &text);
    }

    #[test]
    fn a_name_from_any_text_is_valid_and_stable(text in any::<String>()) {
        let name = Name::from_text(&text);
        prop_assert_eq!(&Name::parse(name.as_str()).unwrap(), &name);
        prop_assert_eq!(Name::from_text(&text), name);
    }
}
