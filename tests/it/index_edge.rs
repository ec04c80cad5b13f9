//! What the embedded index promises beyond the contract: fresh folders, and rotation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use refrain::index::{EdgeIndex, Fill, Point, VectorIndex, WantsFill};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::points::{DIMENSION, all_keys, finds_itself, key, point, random_points};

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_loses_nothing_while_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::new(edge(&folder));
    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();

    let points = random_points(4_000);
    let (kept, dead) = points.split_at(1_500);
    index.upsert(points.clone()).await.unwrap();
    assert_eq!(index.status().await.unwrap().wants_fill, None);
    index.remove(&dead.iter().map(|point| point.key).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(index.status().await.unwrap().wants_fill, Some(WantsFill::Bloated));

    let done = Arc::new(AtomicBool::new(false));
    let searcher = tokio::spawn({
        let (index, kept, done) = (Arc::clone(&index), kept.to_vec(), Arc::clone(&done));
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds == 0 {
                // The first thousand are never touched; they must be found at every moment.
                for point in kept[..1_000].iter().step_by(97) {
                    finds_itself(&*index, point).await;
                }
                rounds += 1;
            }
        }
    });

    index.fill(Fill::Begin).await.unwrap();
    // Read before the writes below, as a fill from the store would be.
    let read = kept.to_vec();
    let mut expected: BTreeMap<_, _> = kept.iter().map(|point| (point.key, point.clone())).collect();
    for (step, batch) in read.chunks(100).enumerate() {
        let (removed, moved) = (&kept[1_000 + step * 10], &kept[1_300 + step * 10]);
        index.remove(&[removed.key]).await.unwrap();
        expected.remove(&removed.key);
        let moved = Point { vector: dead[step].vector.clone(), ..moved.clone() };
        index.upsert(vec![moved.clone(), dead[1_000 + step].clone()]).await.unwrap();
        expected.insert(moved.key, moved);
        expected.insert(dead[1_000 + step].key, dead[1_000 + step].clone());
        index.fill(Fill::Points(batch.to_vec())).await.unwrap();
    }
    index.fill(Fill::Commit).await.unwrap();
    done.store(true, Ordering::Relaxed);
    searcher.await.unwrap();

    assert_eq!(all_keys(&*index, 300).await, expected.keys().copied().collect::<Vec<_>>());
    for point in expected.values() {
        finds_itself(&*index, point).await;
    }
    assert_eq!(index.status().await.unwrap().wants_fill, None);
    eventually("the replaced shard's folder gone", async || (shard_folders(&folder) == 1).then_some(()))
        .await;
    #[cfg(target_os = "linux")]
    assert_eq!(mapped_but_removed(&folder), 0, "the replaced shard's memory is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_given_up_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = edge(&folder);
    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Points(vec![point(1, &[1.0, 0.0])])).await.unwrap();
    index.fill(Fill::Commit).await.unwrap();

    index.fill(Fill::Begin).await.unwrap();
    index.fill(Fill::Points(vec![point(2, &[1.0, 0.0])])).await.unwrap();
    index.fill(Fill::Abandon).await.unwrap();
    assert_eq!(all_keys(&index, 10).await, [key(1)]);
    eventually("the abandoned shard's folder gone", async || (shard_folders(&folder) == 1).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_earlier_processes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join("index/1-abcdef12-34567890/0/segments");
    std::fs::create_dir_all(&earlier).unwrap();

    let first = edge(&folder);
    let second = edge(&folder);
    assert!(!earlier.exists());
    first.upsert(vec![point(1, &[1.0])]).await.unwrap();
    assert_eq!(second.status().await.unwrap().points, 0, "two indexes of one process do not share a folder");
    assert_eq!(second.status().await.unwrap().wants_fill, Some(WantsFill::New));

    drop((first, second));
    assert_eq!(std::fs::read_dir(folder.path().join("index")).unwrap().count(), 0);
}

fn edge(folder: &TempDir) -> EdgeIndex {
    EdgeIndex::create(&folder.path().join("index"), DIMENSION).unwrap()
}

fn shard_folders(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path().join("index"))
        .unwrap()
        .map(|home| std::fs::read_dir(home.unwrap().path()).unwrap().count())
        .sum()
}

/// Counts files under the folder that this process still maps though they are removed.
#[cfg(target_os = "linux")]
fn mapped_but_removed(folder: &TempDir) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ours = folder.path().to_str().unwrap();
    maps.lines().filter(|line| line.contains(ours) && line.ends_with("(deleted)")).count()
}
