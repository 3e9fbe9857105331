//! `man`: the whole command line as one manual page.

use std::io;

use clap::Command;
use clap_mangen::Man;

use crate::arguments;
use crate::error::{Code, Error, Exit, Result};
use crate::host::Host;

/// What the options alone do not say.
const ABOUT: &str = r#".SH "EXIT STATUS"
.TP
0
done; the deployment is as wanted
.TP
1
failed; stderr says what, why and what to do; a re\-run continues
.TP
2
usage or configuration is wrong; nothing was touched
.TP
3
differs: status found drift, plan \-\-exit\-code found changes
.TP
4
absent: status found nothing
.TP
5
the resources stand, but the chat round trip failed
.TP
130
interrupted; a re\-run continues
.SH ENVIRONMENT
Each option is also a variable: \-\-log\-retention\-days is CHATCTL_LOG_RETENTION_DAYS. A flag
goes before its variable, and a variable before the settings file. Credentials, region and endpoint come from the variables of
the AWS SDKs, such as AWS_PROFILE and AWS_REGION.
.TP
CHATCTL_HEADER, CHATCTL_QUERY
what \-\-header and \-\-query would say, a pair a line, so that no token has to be an argument
.TP
CHATCTL_DATA_DIR
where the local AWS is kept
.TP
NO_COLOR
no colours, unless \-\-color asks for them
.TP
GITHUB_OUTPUT, GITHUB_STEP_SUMMARY
the files to which a job's outputs and summary are added
.SH FILES
.TP
chatctl.toml
the settings, where \-\-config names no other file
.TP
~/.local/share/chatctl
the local AWS behind \-\-local; below XDG_DATA_HOME where that is set
"#;

/// # Errors
/// None that can happen: a page in memory takes every write.
pub fn man(host: &Host) -> Result<Exit> {
    let page = page().map_err(|error| Error::failed(Code::Man, format!("cannot write the manual page: {error}")))?;
    host.stdout.write(&page);
    Ok(Exit::Done)
}

/// The page of the program, with a section for every verb that holds only what is its own.
fn page() -> io::Result<String> {
    let mut command = arguments::command();
    command.build();
    let mut page = Vec::new();
    let whole = Man::new(command.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    verbs(&command, "", &mut page)?;
    whole.render_options_section(&mut page)?;
    page.extend(ABOUT.bytes());
    whole.render_extra_section(&mut page)?;
    whole.render_version_section(&mut page)?;
    Ok(String::from_utf8_lossy(&page).replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n"))
}

fn verbs(command: &Command, path: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let own = verb.clone().mut_args(|arg| {
            let everywhere = arg.is_global_set() || arg.get_id() == "help";
            arg.hide(everywhere)
        });
        let has_options = own.get_arguments().any(|arg| !arg.is_hide_set());
        let name = format!("{path}{}", verb.get_name());
        let man = Man::new(own);
        page.extend(format!(".SH \"{}\"\n", name.to_uppercase()).bytes());
        let mut text = Vec::new();
        man.render_description_section(&mut text)?;
        if has_options {
            man.render_options_section(&mut text)?;
        }
        man.render_extra_section(&mut text)?;
        let text = String::from_utf8_lossy(&text).replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n");
        page.extend(text.replace(".SH DESCRIPTION\n", "").replace(".SH ", ".SS ").bytes());
        verbs(verb, &format!("{name} "), page)?;
    }
    Ok(())
}
