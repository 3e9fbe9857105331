//! `man`: the whole command line as one manual page.

use std::io;

use clap::Command;
use clap_mangen::Man;

use crate::arguments;
use crate::error::{Error, Exit, Result};
use crate::host::Host;

/// # Errors
/// None that can happen: a page in memory takes every write.
pub fn man(host: &Host) -> Result<Exit> {
    let page = page().map_err(|error| Error::failed("Man", format!("cannot write the manual page: {error}")))?;
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
