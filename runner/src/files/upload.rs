//! `PUT /files/{path}`: a file is put together under another name in its folder and takes its own as the last step, so
//! that nobody ever reads half of one, and nothing is left of one that did not come whole.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;

use axum::body::{Body, HttpBody};
use http::StatusCode;
use http_body_util::BodyExt;
use rustix::fs::{Mode, OFlags};
use session::ProblemType;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::path::FilePath;
use super::refusal::Refusal;
use super::root::{self, Root};
use super::routes::{Transfer, blocking};
use super::{MAX_UPLOAD, SILENCE_LIMIT};

/// What unfinished uploads are called, with something random behind it.
pub const UNFINISHED: &str = ".cliscale-upload-";
/// Of a new file. What is replaced keeps its own.
const MODE: Mode = Mode::from_raw_mode(0o644);

/// 201 for a new file, 204 for one that was replaced.
pub async fn take_file(transfer: Transfer, path: FilePath, body: Body) -> Result<StatusCode, Refusal> {
    let too_large = || {
        let detail = format!("the file is longer than the {MAX_UPLOAD} bytes that an upload may have");
        Refusal::new(ProblemType::PayloadTooLarge, detail)
    };
    if body.size_hint().lower() > MAX_UPLOAD {
        return Err(too_large());
    }
    let root = transfer.root;
    let (unfinished, file) = blocking(move || Unfinished::begin(&root, path)).await?;
    let mut file = tokio::fs::File::from_std(file);
    let (mut body, mut taken) = (body, 0);
    loop {
        let frame = timeout(SILENCE_LIMIT, body.frame())
            .await
            .map_err(|_| Refusal::new(ProblemType::RequestTimeout, "nothing of the file came for half a minute"))?;
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|_| Refusal::new(ProblemType::InvalidRequest, "the upload broke off; nothing of it was kept"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        taken += bytes.len() as u64;
        if taken > MAX_UPLOAD {
            return Err(too_large());
        }
        file.write_all(&bytes).await?;
    }
    // Writing goes on behind `write_all`, and may fail.
    file.flush().await?;
    let file = file.into_std().await;
    let replaced = blocking(move || unfinished.finish(&file)).await?;
    // Kept until here: the runner does not leave in the middle of it.
    drop(transfer.place);
    Ok(if replaced { StatusCode::NO_CONTENT } else { StatusCode::CREATED })
}

/// A file that has not come whole. Removed when dropped.
struct Unfinished {
    folder: OwnedFd,
    /// `None` once it has its own name.
    temporary: Option<CString>,
    name: OsString,
    /// What the file that is replaced has.
    mode: Option<Mode>,
}

impl Unfinished {
    fn begin(root: &Root, path: FilePath) -> Result<(Self, File), Refusal> {
        let (folder, found) = root.enter_for_upload(&path)?;
        let temporary = format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple());
        let temporary = CString::new(temporary).map_err(std::io::Error::other)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, temporary.as_c_str(), flags, Mode::RUSR | Mode::WUSR)?;
        // Neither set-user-id nor sticky bits are anything that an upload should bring.
        let mode = found.map(|found| Mode::from_raw_mode(found.st_mode & 0o777));
        let unfinished = Self { folder, temporary: Some(temporary), name: path.name, mode };
        Ok((unfinished, File::from(file)))
    }

    /// Gives the file its name; whether there was one before.
    fn finish(mut self, file: &File) -> Result<bool, Refusal> {
        rustix::fs::fchmod(file, self.mode.unwrap_or(MODE))?;
        if let Some(temporary) = &self.temporary {
            rustix::fs::renameat(&self.folder, temporary.as_c_str(), &self.folder, self.name.as_os_str())?;
        }
        self.temporary = None;
        Ok(self.mode.is_some())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            root::remove(&self.folder, temporary);
        }
    }
}
