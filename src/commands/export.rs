//! `export`: the deployment as a CloudFormation template. Calls nothing.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::config::Config;
use crate::error::{Error, Exit, Result};
use crate::host::Host;
use crate::report;
use crate::template::{Source, scope, template, yaml};

/// The largest template that a request of CloudFormation takes in itself; a larger one goes through a bucket. Bytes.
const LARGEST_IN_REQUEST: usize = 51_200;

/// Prints the template with the code in it, or writes template and zips into `folder` and prints their paths.
///
/// # Errors
/// A usage error: handlers that cannot be read, or that do not go into a template; a folder that takes no files.
pub fn export(host: &Host, mut config: Config, folder: Option<&Path>) -> Result<Exit> {
    let reporter = report::reporter(config.face, host);
    let json = config.face.json;
    if folder.is_none() && config.handlers.is_some() {
        return Err(Error::usage("only the built-in handlers fit into a template; your own are files")
            .hint("`--dir DIR` writes the template with the zips beside it"));
    }
    let bundles = super::bundles(&mut config, &*reporter)?;
    let scope = scope(config, bundles);
    let Some(folder) = folder else {
        let template = template(&scope, Source::Inline)?;
        let text = yaml(&template);
        if text.len() > LARGEST_IN_REQUEST {
            reporter.note("larger than 51,200 bytes: `aws cloudformation deploy` takes it with `--s3-bucket`");
        }
        if json {
            host.stdout.line(&report::json::document("export", json!({ "template": template })));
        } else {
            host.stdout.write(&text);
        }
        return Ok(Exit::Done);
    };
    let mut files = vec![("template.yaml".to_owned(), yaml(&template(&scope, Source::Zips)?).into_bytes())];
    files.extend(scope.config.app.functions().iter().map(|function| {
        let bundle = scope.bundles.of(&function.name);
        (bundle.file_name(&function.name), bundle.zip.clone())
    }));
    let paths: Vec<String> = files.iter().map(|(name, _)| folder.join(name).display().to_string()).collect();
    // A zip is named after its content, so one that is there already is the same; a link is never followed.
    let is_same = |path: &Path, content: &[u8]| {
        path.symlink_metadata().is_ok_and(|meta| meta.is_file()) && fs::read(path).is_ok_and(|there| there == *content)
    };
    files.retain(|(name, content)| !is_same(&host.cwd.join(folder).join(name), content));
    if let Some((name, _)) = files.iter().find(|(name, _)| host.cwd.join(folder).join(name).symlink_metadata().is_ok())
    {
        return Err(Error::usage(format!("`{}` exists already, nothing was written", folder.join(name).display()))
            .hint("name another folder, or move it away first"));
    }
    let write = || {
        fs::create_dir_all(host.cwd.join(folder))?;
        files.iter().try_for_each(|(name, content)| {
            // Neither over a file that is there nor through a link.
            fs::File::create_new(host.cwd.join(folder).join(name))?.write_all(content)
        })
    };
    write().map_err(|error| Error::usage(format!("cannot write into `{}`: {error}", folder.display())))?;
    if json {
        host.stdout.line(&report::json::document("export", json!({ "files": paths })));
    } else {
        host.stdout.line(&paths.join("\n"));
    }
    reporter.note("put the zips into a bucket, then deploy the template with `CodeBucket` as that bucket");
    Ok(Exit::Done)
}
