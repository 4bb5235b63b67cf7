//! A machine that lives while a test goes on: commands run in it, cards come and go, it starts anew.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::control::{Control, Job, Waited};
use super::debian::file;
use super::initramfs::{self, Image};
use super::lines::{Lines, listen};
use super::options::{self, Options};
use super::ports::Ports;
use super::qemu::{self, Process};
use super::qmp::{Failure, Qmp};
use super::{Ended, Error, Kernel};

/// A running machine; it ends with this value.
///
/// Its files are as new after each start, but for those below /var/lib/eniway.
#[derive(Debug)]
pub struct Machine {
    kernel: String,
    qmp: Mutex<Qmp>,
    control: Mutex<Control>,
    pub(super) ports: Mutex<Ports>,
    primary: Option<String>,
    // Ended before its folder goes.
    _qemu: Process,
    pub(super) image: Image,
}

impl Machine {
    /// Boots `kernel`, and waits until it takes commands. Everything ends after `deadline`.
    ///
    /// # Errors
    /// [`Error::Gone`] with the console when it did not come so far.
    pub fn start(kernel: &Kernel, options: &Options, deadline: Duration) -> Result<Self, Error> {
        let image = initramfs::write(kernel, options.modules, options.scripts())?;
        let folder = image.folder();
        for name in ["shared", "shared/kept"] {
            let path = folder.join(name);
            fs::create_dir(&path).map_err(file(&path))?;
        }
        let [qmp, control] = ["qmp", "control"].map(|name| listen(&folder.join(name)));
        let (qmp, control) = (qmp?, control?);
        let mut command = qemu::command(kernel, &image.path(), &options.boot(), deadline);
        command.args(options.arguments(folder));
        let mut qemu = Process::start(&mut command, &folder.join("qemu.log"))?;
        let missing = |what: &str| Error::Gone {
            kernel: kernel.release.clone(),
            what: what.to_owned(),
            console: console(folder),
        };
        let mut accept = |listener| {
            let lines = Lines::accept(listener, qemu.child());
            let lines = lines.map_err(|source| Error::Socket {
                what: "wait for QEMU".to_owned(),
                source,
            })?;
            lines.ok_or_else(|| missing("start"))
        };
        let (qmp, control) = (accept(&qmp)?, accept(&control)?);
        let machine = Self {
            kernel: kernel.release.clone(),
            qmp: Mutex::new(Qmp::new(qmp)),
            control: Mutex::new(Control::new(control, &folder.join("shared"))),
            ports: Mutex::default(),
            primary: options.primary.clone(),
            _qemu: qemu,
            image,
        };
        machine.execute("qmp_capabilities", &json!({}))?;
        machine.wait_ready("boot")?;
        Ok(machine)
    }

    /// Runs a shell command as root, to its end.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Restarted`] when the machine did not come to its end.
    pub fn run(&self, command: &str) -> Result<Ended, Error> {
        let job = self.begin(command)?;
        self.wait(job)
    }

    /// Runs a shell command, and gives what it wrote.
    ///
    /// # Errors
    /// [`Error::Failed`] when it did not end with 0.
    pub fn read(&self, command: &str) -> Result<String, Error> {
        let Ended { code, output } = self.run(command)?;
        if code == 0 {
            return Ok(output);
        }
        Err(Error::Failed {
            what: format!("run in a machine: {command}"),
            status: format!("exit status {code}"),
            output,
        })
    }

    /// Begins a shell command, beside which others may run.
    ///
    /// # Errors
    /// The machine cannot be reached.
    pub fn begin(&self, command: &str) -> Result<Job, Error> {
        lock(&self.control).start(command)
    }

    /// Waits for the end of a command that was begun.
    ///
    /// # Errors
    /// As for [`Machine::run`].
    pub fn wait(&self, job: Job) -> Result<Ended, Error> {
        let mut control = lock(&self.control);
        let what = format!("end command {}", job.number);
        match control.wait(job) {
            Ok(Waited::Ended(code)) => {
                let output = control.output(job);
                Ok(Ended { code, output })
            }
            Ok(Waited::Gone) => Err(self.gone(what)),
            Ok(Waited::Restarted) => Err(Error::Restarted {
                kernel: self.kernel.clone(),
                what,
                console: self.console(),
            }),
            Err(source) => Err(Error::Socket { what, source }),
        }
    }

    /// What a command has written so far.
    #[must_use]
    pub fn output(&self, job: Job) -> String {
        lock(&self.control).output(job)
    }

    /// Resets the machine, as a power failure does, and waits until it takes commands again. Cards stay plugged.
    ///
    /// # Errors
    /// [`Error::Gone`] when it did not come back.
    pub fn reboot(&self) -> Result<(), Error> {
        self.execute("system_reset", &json!({}))?;
        self.wait_ready("boot again")
    }

    /// All that the machine and QEMU wrote, for a person.
    #[must_use]
    pub fn console(&self) -> String {
        console(self.image.folder())
    }

    pub(super) fn execute(&self, command: &str, arguments: &Value) -> Result<Value, Error> {
        let what = format!("{command} {arguments}");
        let answer = lock(&self.qmp).execute(command, arguments);
        answer.map_err(|failure| match failure {
            Failure::Refused(reason) => Error::Refused {
                command: what,
                reason,
            },
            Failure::Gone => self.gone(what),
            Failure::Socket(source) => Error::Socket { what, source },
        })
    }

    fn wait_ready(&self, what: &str) -> Result<(), Error> {
        let ready = lock(&self.control).wait_ready();
        let ready = ready.map_err(|source| Error::Socket {
            what: what.to_owned(),
            source,
        })?;
        if !ready {
            return Err(self.gone(what.to_owned()));
        }
        match &self.primary {
            Some(mac) => self.read(&options::set_up(mac)).map(drop),
            None => Ok(()),
        }
    }

    fn gone(&self, what: String) -> Error {
        Error::Gone {
            kernel: self.kernel.clone(),
            what,
            console: self.console(),
        }
    }
}

fn console(folder: &Path) -> String {
    let parts = ["console", "qemu.log"].map(|name| fs::read(folder.join(name)).unwrap_or_default());
    parts
        .map(|part| String::from_utf8_lossy(&part).replace('\r', ""))
        .concat()
}

/// A thread that panicked has left a whole conversation or none.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
