//! What the program prints as JSON, held to the schemas of `docs/schema/`, whichever test sees it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::Value;

/// The folder of the schemas.
pub fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema").canonicalize().expect("there are schemas")
}

/// Fails the test if `stdout` is a document of ours that its schema does not describe.
#[track_caller]
pub fn assert_described(stdout: &str) {
    let Ok(document) = serde_json::from_str::<Value>(stdout) else { return };
    if document.get("schema").is_some() {
        let error = document.get("error").map(|_| "error");
        let name = error.or_else(|| document["command"].as_str()).expect("a result names its command");
        assert_fits(&name.replace(' ', "-"), &document);
    }
}

/// Fails the test unless the schema of this name describes `document`.
#[track_caller]
pub fn assert_fits(name: &str, document: &Value) {
    if let Err(why) = fits(name, document) {
        panic!("docs/schema/{name}.json does not describe this: {why}\n{document:#}");
    }
}

/// # Errors
/// What the schema of this name does not describe; that there is no such schema.
pub fn fits(name: &str, document: &Value) -> Result<(), String> {
    let (schemas, known) = compiled();
    let schema = known.get(name).ok_or("there is no such schema")?;
    schemas.validate(document, *schema).map_err(|why| format!("{why:#}"))
}

fn compiled() -> &'static (Schemas, BTreeMap<String, SchemaIndex>) {
    static COMPILED: OnceLock<(Schemas, BTreeMap<String, SchemaIndex>)> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        let mut schemas = Schemas::new();
        let files =
            fs::read_dir(self::schemas()).expect("the schemas can be read").map(|entry| entry.expect("one").path());
        let known = files.map(|path| {
            let name = path.file_stem().expect("a schema has a name").to_string_lossy().into_owned();
            let schema = compiler.compile(&path.display().to_string(), &mut schemas);
            (name, schema.unwrap_or_else(|error| panic!("{}: {error:#}", path.display())))
        });
        let known = known.collect();
        (schemas, known)
    })
}
