//! Queues that share one store of nodes, so that a flow's empty queue costs eight bytes and a
//! node costs no allocation once the store has grown.

/// No node.
pub(crate) const NIL: u32 = u32::MAX;

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    next: u32,
}

/// The nodes of many queues.
#[derive(Debug)]
pub(crate) struct Nodes<T> {
    nodes: Vec<Node<T>>,
    free: u32,
}

/// One queue in a [`Nodes`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    head: u32,
    tail: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            head: NIL,
            tail: NIL,
        }
    }
}

impl Queue {
    pub(crate) const fn is_empty(self) -> bool {
        self.head == NIL
    }

    pub(crate) const fn head(self) -> u32 {
        self.head
    }

    pub(crate) const fn tail(self) -> u32 {
        self.tail
    }
}

impl<T> Default for Nodes<T> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: NIL,
        }
    }
}

impl<T> Nodes<T> {
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.nodes.get(id as usize)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.nodes.get_mut(id as usize)?.value.as_mut()
    }

    /// The node behind `id`, or [`NIL`].
    pub(crate) fn next(&self, id: u32) -> u32 {
        self.nodes.get(id as usize).map_or(NIL, |node| node.next)
    }

    pub(crate) fn push_back(&mut self, queue: &mut Queue, value: T) -> u32 {
        self.insert_after(queue, queue.tail, value)
    }

    /// Inserts behind `before`, which is a node of `queue`; at the front if it is [`NIL`].
    pub(crate) fn insert_after(&mut self, queue: &mut Queue, before: u32, value: T) -> u32 {
        let next = if before == NIL {
            queue.head
        } else {
            self.next(before)
        };
        let id = self.take_free(value, next);
        match self.nodes.get_mut(before as usize) {
            Some(node) => node.next = id,
            None => queue.head = id,
        }
        if next == NIL {
            queue.tail = id;
        }
        id
    }

    pub(crate) fn front<'a>(&'a self, queue: &Queue) -> Option<&'a T> {
        self.get(queue.head)
    }

    pub(crate) fn front_mut(&mut self, queue: &Queue) -> Option<&mut T> {
        self.get_mut(queue.head)
    }

    pub(crate) fn pop_front(&mut self, queue: &mut Queue) -> Option<T> {
        let id = queue.head;
        let next = self.next(id);
        let value = self.release(id)?;
        queue.head = next;
        if next == NIL {
            queue.tail = NIL;
        }
        Some(value)
    }

    /// Removes the node behind `before`, which is a node of `queue`.
    pub(crate) fn remove_after(&mut self, queue: &mut Queue, before: u32) -> Option<T> {
        if before == NIL {
            return self.pop_front(queue);
        }
        let id = self.next(before);
        let next = self.next(id);
        let value = self.release(id)?;
        if let Some(node) = self.nodes.get_mut(before as usize) {
            node.next = next;
        }
        if next == NIL {
            queue.tail = before;
        }
        Some(value)
    }

    /// The values of `queue`, front first.
    pub(crate) fn iter(&self, queue: Queue) -> impl Iterator<Item = &T> {
        let mut id = queue.head;
        std::iter::from_fn(move || {
            let value = self.get(id)?;
            id = self.next(id);
            Some(value)
        })
    }

    fn take_free(&mut self, value: T, next: u32) -> u32 {
        let node = Node {
            value: Some(value),
            next,
        };
        if let Some(place) = self.nodes.get_mut(self.free as usize) {
            let id = self.free;
            self.free = place.next;
            *place = node;
            return id;
        }
        let id = u32::try_from(self.nodes.len()).expect("bounded by the limits of flows");
        self.nodes.push(node);
        id
    }

    fn release(&mut self, id: u32) -> Option<T> {
        let node = self.nodes.get_mut(id as usize)?;
        let value = node.value.take()?;
        node.next = self.free;
        self.free = id;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(nodes: &Nodes<u8>, queue: Queue) -> Vec<u8> {
        nodes.iter(queue).copied().collect()
    }

    #[test]
    fn queues_share_nodes_and_keep_their_order() {
        let mut nodes = Nodes::default();
        let (mut a, mut b) = (Queue::default(), Queue::default());
        for n in 0..4 {
            nodes.push_back(&mut a, n);
            nodes.push_back(&mut b, n + 10);
        }
        assert_eq!(nodes.pop_front(&mut a), Some(0));
        let head = a.head();
        nodes.insert_after(&mut a, head, 9);
        nodes.insert_after(&mut a, NIL, 8);
        assert_eq!(values(&nodes, a), [8, 1, 9, 2, 3]);
        assert_eq!(nodes.remove_after(&mut a, NIL), Some(8));
        let second = nodes.next(nodes.next(a.head()));
        assert_eq!(nodes.remove_after(&mut a, second), Some(3));
        assert_eq!(nodes.push_back(&mut a, 7), a.tail());
        assert_eq!(values(&nodes, a), [1, 9, 2, 7]);
        assert_eq!(values(&nodes, b), [10, 11, 12, 13]);
    }

    #[test]
    fn freed_nodes_are_used_again() {
        let mut nodes = Nodes::default();
        let mut queue = Queue::default();
        for round in 0..100_u8 {
            nodes.push_back(&mut queue, round);
            nodes.push_back(&mut queue, round);
            assert_eq!(nodes.pop_front(&mut queue), Some(round));
            assert_eq!(nodes.pop_front(&mut queue), Some(round));
            assert!(queue.is_empty());
        }
        assert_eq!(nodes.nodes.len(), 2);
    }
}
