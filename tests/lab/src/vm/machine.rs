//! A machine that lives while a test goes on: commands run in it, cards come and go, it starts anew.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::card::{Card, Model};
use super::control::{Control, Job, Waited};
use super::debian::file;
use super::initramfs::{self, Image};
use super::lines::{Lines, listen};
use super::qemu::{self, Process};
use super::qmp::{Failure, Qmp};
use super::{Ended, Error, Kernel};

/// Root ports, into which cards are plugged.
const PORTS: usize = 4;
const SERVE: &str = include_str!("serve.sh");

/// This host, as seen from a machine's primary card, which is in 10.0.2.0/24.
pub const HOST: &str = "10.0.2.2";

/// What a machine is like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether Intel's IOMMU is there, and on, as it can be on bare metal; other instances of EC2 have none.
    pub iommu: bool,
    /// Modules that are loaded at each start, beside those that every machine has.
    pub modules: &'static [&'static str],
    /// The MAC address of a card that reaches this host's 127.0.0.1 as [`HOST`], if it is to have one.
    pub primary: Option<String>,
}

/// A running machine; it ends with this value.
///
/// Its files are as new after each start, but for those below /var/lib/eniway.
#[derive(Debug)]
pub struct Machine {
    kernel: String,
    qmp: Mutex<Qmp>,
    control: Mutex<Control>,
    cards: Mutex<Cards>,
    // Ended before its folder goes.
    _qemu: Process,
    image: Image,
}

/// Which cards there were.
#[derive(Debug, Default)]
struct Cards {
    made: u32,
    /// The last one in each root port.
    ports: [Option<String>; PORTS],
}

impl Machine {
    /// Boots `kernel`, and waits until it takes commands. Everything ends after `deadline`.
    ///
    /// # Errors
    /// [`Error::Gone`] with the console when it did not come so far.
    pub fn start(kernel: &Kernel, options: &Options, deadline: Duration) -> Result<Self, Error> {
        let image = initramfs::write(kernel, options.modules, SERVE)?;
        let folder = image.folder();
        for name in ["shared", "shared/kept"] {
            let path = folder.join(name);
            fs::create_dir(&path).map_err(file(&path))?;
        }
        let [qmp, control] = ["qmp", "control"].map(|name| listen(&folder.join(name)));
        let (qmp, control) = (qmp?, control?);
        let boot = if options.iommu { "intel_iommu=on" } else { "" };
        let mut command = qemu::command(kernel, &image.path(), boot, deadline);
        command.args(arguments(folder, options));
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
            cards: Mutex::default(),
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

    /// Plugs a card into a port that is free.
    ///
    /// # Errors
    /// [`Error::NoPort`], or what QEMU has against it.
    pub fn plug(&self, model: Model, mac: &str) -> Result<Card, Error> {
        let mut cards = lock(&self.cards);
        let there = self.devices()?;
        let is_free = |last: &Option<String>| last.as_ref().is_none_or(|id| !there.contains(id));
        let port = cards.ports.iter().position(is_free);
        let port = port.ok_or(Error::NoPort { ports: PORTS })?;
        cards.made += 1;
        let id = format!("card{}", cards.made);
        let card = Card::new(self.image.folder(), &id, mac)?;
        self.execute("netdev_add", &card.link())?;
        self.execute("device_add", &card.device(model, &format!("port{port}")))?;
        cards.ports[port] = Some(id);
        Ok(card)
    }

    /// Asks the machine to let a card go; whoever uses it may take its time.
    ///
    /// # Errors
    /// It was asked already, or the card is not there any more.
    pub fn unplug(&self, card: &Card) -> Result<(), Error> {
        let arguments = json!({"id": card.id});
        self.execute("device_del", &arguments).map(drop)
    }

    /// Whether a card is there still.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn is_plugged(&self, card: &Card) -> Result<bool, Error> {
        Ok(self.devices()?.contains(&card.id))
    }

    /// All that the machine and QEMU wrote, for a person.
    #[must_use]
    pub fn console(&self) -> String {
        console(self.image.folder())
    }

    /// The names of the devices that bear one.
    fn devices(&self) -> Result<Vec<String>, Error> {
        let list = self.execute("qom-list", &json!({"path": "/machine/peripheral"}))?;
        let names = list.as_array().into_iter().flatten();
        let names = names.filter_map(|one| one["name"].as_str());
        Ok(names.map(ToOwned::to_owned).collect())
    }

    fn execute(&self, command: &str, arguments: &Value) -> Result<Value, Error> {
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
        match lock(&self.control).wait_ready() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.gone(what.to_owned())),
            Err(source) => Err(Error::Socket {
                what: what.to_owned(),
                source,
            }),
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

/// What QEMU is told beside what every machine has.
fn arguments(folder: &Path, options: &Options) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut arguments = vec![
        format!("-serial file:{}", at("console")),
        format!("-chardev socket,id=control,path={}", at("control")),
        "-serial chardev:control".to_owned(),
        format!("-chardev socket,id=qmp,path={}", at("qmp")),
        "-mon chardev=qmp,mode=control".to_owned(),
        format!(
            "-virtfs local,path={},mount_tag=machine,security_model=none",
            at("shared")
        ),
    ];
    if options.iommu {
        arguments.push("-M q35,kernel-irqchip=split -device intel-iommu,intremap=on".to_owned());
    } else {
        arguments.push("-M q35".to_owned());
    }
    for port in 0..PORTS {
        arguments.push(format!(
            "-device pcie-root-port,id=port{port},slot={port},chassis={port}"
        ));
    }
    arguments.push(match &options.primary {
        Some(mac) => format!("-nic user,model=virtio-net-pci,mac={mac}"),
        None => "-nic none".to_owned(),
    });
    let words = arguments.iter().flat_map(|argument| argument.split(' '));
    words.map(ToOwned::to_owned).collect()
}

fn console(folder: &Path) -> String {
    let parts = ["console", "qemu.log"].map(|name| fs::read(folder.join(name)).unwrap_or_default());
    parts
        .map(|part| String::from_utf8_lossy(&part).replace('\r', ""))
        .concat()
}

/// A thread that panicked has left a whole conversation or none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
