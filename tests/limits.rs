//! What is held to limits of real time, with nothing else at work beside it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Folder, chatctl};
use tokio::process::Command;

/// The tests of the handlers, on what they become within a template.
#[tokio::test]
async fn inlined_handlers_pass_their_tests() {
    let folder = Folder::new();
    let lambda = Path::new(env!("CARGO_MANIFEST_DIR")).join("lambda");
    let jwt = ["--authorizer", "jwt", "--jwt-issuer", "https://issuer.example", "--jwt-audience", "chat"];
    let export = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(["export", "-o", "json"]).args(jwt);
    let exported: Value = serde_json::from_str(&export.run().await.expect(0).stdout).unwrap();
    let template = &exported["template"];
    for function in ["onConnect", "onDisconnect", "sendMessage", "authorizer"] {
        let (first, rest) = function.split_at(1);
        let properties = &template["Resources"][format!("{}{rest}Function", first.to_uppercase())]["Properties"];
        assert_eq!(properties["Handler"], "index.handler");
        let code = properties["Code"]["ZipFile"].as_str().unwrap();
        fs::write(folder.0.join(format!("{function}.cjs")), code).unwrap();
        // Each import is an execution environment of its own.
        let module = format!(
            "import {{ createRequire }} from 'node:module';\n\
             const require = createRequire(import.meta.url);\n\
             delete require.cache[require.resolve('./{function}.cjs')];\n\
             export const {{ handler }} = require('./{function}.cjs');\n"
        );
        fs::write(folder.0.join(format!("{function}.mjs")), module).unwrap();
    }
    fs::create_dir(folder.0.join("testing")).unwrap();
    let tests = ["handlers.test.mjs", "authorizer.test.mjs", "testing/aws.js", "testing/issuer.js"];
    // What the tests ask for by itself.
    let asked = ["issuer.mjs", "jwt.mjs", "package.json"];
    for file in tests.into_iter().chain(asked) {
        fs::copy(lambda.join(file), folder.0.join(file)).unwrap();
    }
    let tests =
        Command::new("node").args(["--test", "--test-reporter=tap"]).current_dir(&folder.0).output().await.unwrap();
    let report = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success(), "{report}");
    assert!(!report.contains("# pass 0"), "{report}");
}
