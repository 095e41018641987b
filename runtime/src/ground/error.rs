//! What can go wrong while running, by who can mend it, with the exit status of each.

use lrc_dsl::Diag;

/// A failure of a command.
#[derive(Debug)]
pub enum Failure {
    /// A model, spec or tensor file says something wrong; each finding has a place or a name.
    Invalid(Vec<Diag>),
    /// The world: a file cannot be read or written, memory ran out.
    World(String),
    /// The command line asks for something that does not exist.
    Usage(String),
    /// A kernel cannot be compiled, or there is nothing to compile it with.
    Compile(String),
    /// A device's memory is full.
    Memory(String),
    /// A check of the program's own work failed.
    Verification(String),
    /// Training diverged or a policy stopped it.
    Diverged(String),
    /// Stopped by a signal, after saving; the signal's number.
    Stopped(i32),
}

impl Failure {
    /// One finding about what a file says.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Failure {
        Failure::Invalid(vec![Diag::global(code, message)])
    }

    /// A gradient without the forward pass that it goes back through.
    pub fn no_forward(of: &str) -> Failure {
        Failure::Verification(format!("the gradient of {of} runs without its forward pass"))
    }

    /// The same failure, saying what of several things it is about.
    #[must_use]
    pub fn of(self, what: &str) -> Failure {
        let say = |why: String| format!("{what}: {why}");
        match self {
            Failure::Invalid(mut diags) => {
                diags
                    .iter_mut()
                    .for_each(|diag| diag.message = say(std::mem::take(&mut diag.message)));
                Failure::Invalid(diags)
            }
            Failure::World(why) => Failure::World(say(why)),
            Failure::Usage(why) => Failure::Usage(say(why)),
            Failure::Compile(why) => Failure::Compile(say(why)),
            Failure::Memory(why) => Failure::Memory(say(why)),
            Failure::Verification(why) => Failure::Verification(say(why)),
            Failure::Diverged(why) => Failure::Diverged(say(why)),
            Failure::Stopped(signal) => Failure::Stopped(signal),
        }
    }

    /// The exit status of the process.
    pub fn status(&self) -> u8 {
        match self {
            Failure::World(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Invalid(_) => 3,
            Failure::Compile(_) => 4,
            Failure::Memory(_) => 5,
            Failure::Diverged(_) => 6,
            Failure::Verification(_) => 7,
            Failure::Stopped(signal) => 128 + *signal as u8,
        }
    }
}

impl std::fmt::Display for Failure {
    /// What happened, in words; findings without the text they point at.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Failure::World(why)
            | Failure::Usage(why)
            | Failure::Compile(why)
            | Failure::Memory(why)
            | Failure::Verification(why)
            | Failure::Diverged(why) => f.write_str(why),
            Failure::Stopped(signal) => write!(f, "stopped by signal {signal}, after saving"),
            Failure::Invalid(diags) => {
                let messages: Vec<&str> = diags.iter().map(|diag| diag.message.as_str()).collect();
                f.write_str(&messages.join("; "))
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Says which file a system error is about.
pub fn at_path<'p>(
    what: &'p str,
    path: &'p std::path::Path,
) -> impl FnOnce(std::io::Error) -> Failure + 'p {
    move |error| Failure::World(format!("cannot {what} {}: {error}", path.display()))
}
