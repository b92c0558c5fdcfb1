//! The status door: writes the last published document and closes. It never reads a byte.

use bytes::Bytes;
use holdfast_core::limits::STATUS_CLIENTS_MAX;
use holdfast_ipc::listen::Door;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// The document as it was last published.
pub(crate) type Published = Rc<RefCell<Bytes>>;

/// Serves the status socket until the process ends.
pub(crate) fn listen(door: Door, published: Published) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(STATUS_CLIENTS_MAX));
    tokio::task::spawn_local(async move {
        loop {
            let Ok(mut stream) = door.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let body = published.borrow().clone();
            tokio::task::spawn_local(async move {
                let _ = tokio::time::timeout(Duration::from_millis(500), async {
                    let _ = stream.write_all(&body).await;
                    let _ = stream.shutdown().await;
                })
                .await;
                drop(place);
            });
        }
    });
}
