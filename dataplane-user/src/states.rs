//! Files that say what is there of each interface, for applications and people: `<folder>/<eni>.json`.

use std::{fs, io, path::PathBuf};

use eniway_api::{Ec2Status, EniId, InterfaceWish, NodeStatus};
use serde::{Deserialize, Serialize};

use crate::desired::Record;

#[derive(Debug, thiserror::Error)]
#[error("write the state of {eni} to {}", path.display())]
pub struct Error {
    eni: EniId,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What is told of an interface, in a file of its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    ec2: Option<&'a Ec2Status>,
    node: &'a NodeStatus,
    /// What its network was asked for, by which it is given back.
    interface: Option<&'a InterfaceWish>,
}

/// What of it is read again.
#[derive(Deserialize)]
struct Asked {
    interface: Option<InterfaceWish>,
}

/// The files.
#[derive(Clone, Debug)]
pub struct States(PathBuf);

impl States {
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Writes what is there of a record's interface, if the file says anything else; of one that is released there is
    /// no file.
    pub fn write(&self, record: &Record, status: &NodeStatus) -> Result<(), Error> {
        let Some(eni) = record.eni() else {
            return Ok(());
        };
        if status.released {
            return self.remove(eni);
        }
        let (ec2, interface) = match record {
            Record::Readable(record) => {
                let ec2 = record.status.as_ref().and_then(|it| it.ec2.as_ref());
                (ec2, record.spec.interface.as_ref())
            }
            Record::Unreadable(_) => (None, None),
        };
        let state = State {
            ec2,
            node: status,
            interface,
        };
        let path = self.path(eni);
        let write = || {
            let text = serde_json::to_vec_pretty(&state)?;
            if fs::read(&path).is_ok_and(|before| before == text) {
                return Ok(());
            }
            fs::create_dir_all(&self.0)?;
            let part = self.0.join(format!(".{eni}.part"));
            fs::write(&part, text)?;
            fs::rename(&part, &path)
        };
        write().map_err(|source| self.failed(eni, source))
    }

    /// Removes the file of an interface, if there is one.
    pub fn remove(&self, eni: &EniId) -> Result<(), Error> {
        match fs::remove_file(self.path(eni)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.failed(eni, source))
            }
            _ => Ok(()),
        }
    }

    /// The ENIs of which there is a file, and what their networks were asked for.
    #[must_use]
    pub fn known(&self) -> Vec<(EniId, InterfaceWish)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let states = paths.filter(|path| path.extension().is_some_and(|it| it == "json"));
        let known = states.filter_map(|path| {
            let eni = EniId::from(&*path.file_stem()?.to_string_lossy());
            let state = fs::read(&path).unwrap_or_default();
            let asked = serde_json::from_slice(&state);
            let asked = asked.unwrap_or(Asked { interface: None });
            Some((eni, asked.interface.unwrap_or_default()))
        });
        known.collect()
    }

    fn path(&self, eni: &EniId) -> PathBuf {
        self.0.join(format!("{eni}.json"))
    }

    fn failed(&self, eni: &EniId, source: io::Error) -> Error {
        Error {
            eni: eni.clone(),
            path: self.path(eni),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use eniway_api::{NodeEniAttachment, NodeEniAttachmentSpec, NodeEniAttachmentStatus};

    use super::*;

    #[test]
    fn a_file_lives_from_the_first_status_to_the_release() {
        let folder = tempfile::tempdir().unwrap();
        let states = States::new(folder.path().join("interfaces"));
        let spec = NodeEniAttachmentSpec {
            interface: Some(InterfaceWish {
                name: Some("fast".to_owned()),
                ..InterfaceWish::default()
            }),
            ..NodeEniAttachmentSpec::default()
        };
        let mut record = NodeEniAttachment::new("fast-1", spec);
        let record_of = |record: &NodeEniAttachment| Record::Readable(Box::new(record.clone()));
        let mut status = NodeStatus::default();
        states.write(&record_of(&record), &status).unwrap();
        assert_eq!(states.known(), [], "EC2 has made none");
        record.status = Some(NodeEniAttachmentStatus {
            ec2: Some(Ec2Status {
                eni_id: Some("eni-1".into()),
                ..Ec2Status::default()
            }),
            ..NodeEniAttachmentStatus::default()
        });
        states.write(&record_of(&record), &status).unwrap();
        let [(eni, asked)] = states.known().try_into().unwrap();
        assert_eq!(
            (eni.as_str(), asked.name.as_deref()),
            ("eni-1", Some("fast"))
        );
        let path = folder.path().join("interfaces/eni-1.json");
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        states.write(&record_of(&record), &status).unwrap();
        let again = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(written, again, "nothing is new");
        status.released = true;
        states.write(&record_of(&record), &status).unwrap();
        assert_eq!(states.known(), []);
    }
}
