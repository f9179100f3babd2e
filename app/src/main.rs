//! Andamento: opens the editor, or carries out a command.

use std::process::ExitCode;

use andamento::cli::{self, Cli};
use andamento::files::folders::Folders;
use andamento::preferences::Kept;
use andamento::{headless, ui};
use andamento_model::library::imported::Shelf;
use andamento_model::{Error, Result};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Some(command) => cli::run(command, &cli),
        None => edit(&cli),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("andamento: {error}");
            ExitCode::from(cli::exit_code(&error))
        }
    }
}

/// Opens the editor, or does its job without a window where none can be opened.
fn edit(cli: &Cli) -> Result<()> {
    if let Some(picture) = cli.picture.as_ref().filter(|picture| !picture.is_file()) {
        let remedy = "Name a picture to open it, or a command: see `andamento --help`";
        return Err(Error::file(picture, "there is no such file or command", remedy));
    }
    let shelf = Shelf::open(cli.data_dir.as_deref())?;
    let folders = Folders::open(cli.data_dir.as_deref())?;
    let (picture, model) = (cli.picture.clone(), cli.model.clone());
    let start = ui::StartOptions { device: cli.device, picture, model, shelf, folders };
    match ui::run(start, Kept::open(cli.data_dir.as_deref())) {
        Ok(()) => Ok(()),
        Err(error) => headless::run(cli.device, &error.to_string()),
    }
}
