# Whose engine it is.  Workers forward with it, or with the others of their team, all the time; whoever else needs it
# takes a turn and is let in once every worker stands between two bursts, in the order of asking, the workers included:
# nobody starves.

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <pthread.h>
    #include <stdint.h>

    typedef struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        uint32_t waiting;           /* others who have asked and not given back: all that a worker looks at */
        uint64_t next, serving;     /* a ticket for each who asks */
        int taken;                  /* by the holder of `serving` */
        uint32_t working, inside;   /* workers; those of them that are in a burst */
        uint32_t held;              /* workers that wait */
        uint64_t gate;              /* while there are any: those with tickets from here on come after them */
        uint32_t lent;              /* rounds that workers may go on for while somebody holds the turn */
        int gate_stays;             /* one of them has gone on for such a round: when it is back it waits as it did */
        pthread_t holder;
        uint32_t depth;
    } t1_turn;

    static inline int t1_turn_init(t1_turn *turn) {
        if (pthread_mutex_init(&turn->lock, NULL) != 0) return -1;
        if (pthread_cond_init(&turn->changed, NULL) != 0) { pthread_mutex_destroy(&turn->lock); return -1; }
        return 0;
    }
    static inline void t1_turn_free(t1_turn *turn) {
        pthread_cond_destroy(&turn->changed);
        pthread_mutex_destroy(&turn->lock);
    }
    static inline int t1_turn_mine(t1_turn *turn) {
        int mine;
        pthread_mutex_lock(&turn->lock);
        mine = turn->taken && pthread_equal(turn->holder, pthread_self());
        pthread_mutex_unlock(&turn->lock);
        return mine;
    }
    static inline int t1_turn_working(t1_turn *turn) {
        return __atomic_load_n(&turn->working, __ATOMIC_RELAXED) != 0;
    }
    static inline uint32_t t1_turn_waiting(t1_turn *turn) {
        return __atomic_load_n(&turn->waiting, __ATOMIC_RELAXED);
    }
    /* With the lock held. */
    static inline void t1_turn_queue(t1_turn *turn) {
        uint64_t ticket = turn->next++;
        while (turn->taken || turn->serving != ticket || turn->inside || (turn->held && ticket >= turn->gate))
            pthread_cond_wait(&turn->changed, &turn->lock);
        if (ticket >= turn->gate) turn->gate_stays = 0;
        turn->taken = 1;
        turn->holder = pthread_self();
        turn->depth = 1;
    }
    static inline void t1_turn_pass_on(t1_turn *turn) {
        turn->taken = 0;
        turn->serving++;
        pthread_cond_broadcast(&turn->changed);
    }
    /* The same for a worker: it waits for those who have asked before, not for another worker. */
    static inline void t1_turn_come(t1_turn *turn) {
        if (turn->serving == turn->next) {
            turn->gate_stays = 0;
        } else {
            if (turn->held == 0 && !turn->gate_stays) turn->gate = turn->next;
            turn->held++;
            while (turn->serving != turn->gate && !turn->lent) pthread_cond_wait(&turn->changed, &turn->lock);
            turn->held--;
            turn->gate_stays = turn->serving != turn->gate;
            if (turn->gate_stays) turn->lent--;
        }
        turn->inside++;
    }
    static inline void t1_turn_go(t1_turn *turn) {
        turn->inside--;
        if (turn->inside == 0) pthread_cond_broadcast(&turn->changed);
    }
    /* The holder lets the workers that wait go on for a round each, and nobody else. */
    static inline void t1_turn_lend(t1_turn *turn) {
        pthread_mutex_lock(&turn->lock);
        if (turn->held) {
            turn->lent = turn->held;
            pthread_cond_broadcast(&turn->changed);
            while (turn->lent || turn->inside) pthread_cond_wait(&turn->changed, &turn->lock);
        }
        pthread_mutex_unlock(&turn->lock);
    }
    static inline void t1_turn_take(t1_turn *turn) {
        pthread_mutex_lock(&turn->lock);
        if (turn->taken && pthread_equal(turn->holder, pthread_self())) {
            turn->depth++;
        } else {
            __atomic_add_fetch(&turn->waiting, 1, __ATOMIC_RELAXED);
            t1_turn_queue(turn);
        }
        pthread_mutex_unlock(&turn->lock);
    }
    /* -1: it is not the caller's. */
    static inline int t1_turn_give(t1_turn *turn) {
        int mine;
        pthread_mutex_lock(&turn->lock);
        mine = turn->taken && pthread_equal(turn->holder, pthread_self());
        if (mine && --turn->depth == 0) {
            __atomic_sub_fetch(&turn->waiting, 1, __ATOMIC_RELAXED);
            t1_turn_pass_on(turn);
        }
        pthread_mutex_unlock(&turn->lock);
        return mine ? 0 : -1;
    }
    static inline void t1_turn_enter(t1_turn *turn) {
        pthread_mutex_lock(&turn->lock);
        t1_turn_come(turn);
        pthread_mutex_unlock(&turn->lock);
    }
    static inline void t1_turn_leave(t1_turn *turn) {
        pthread_mutex_lock(&turn->lock);
        t1_turn_go(turn);
        pthread_mutex_unlock(&turn->lock);
    }
    static inline void t1_turn_begin_work(t1_turn *turn) {
        pthread_mutex_lock(&turn->lock);
        __atomic_add_fetch(&turn->working, 1, __ATOMIC_RELAXED);
        t1_turn_come(turn);
        pthread_mutex_unlock(&turn->lock);
    }
    static inline void t1_turn_end_work(t1_turn *turn) {
        pthread_mutex_lock(&turn->lock);
        __atomic_sub_fetch(&turn->working, 1, __ATOMIC_RELAXED);
        t1_turn_go(turn);
        pthread_mutex_unlock(&turn->lock);
    }
    static inline void t1_turn_let_in(t1_turn *turn) {
        if (__builtin_expect(__atomic_load_n(&turn->waiting, __ATOMIC_RELAXED) == 0, 1)) return;
        pthread_mutex_lock(&turn->lock);
        t1_turn_go(turn);
        t1_turn_come(turn);
        pthread_mutex_unlock(&turn->lock);
    }
    """
    ctypedef struct Turn "t1_turn":
        pass
    int turn_init "t1_turn_init"(Turn *turn) noexcept nogil
    void turn_free "t1_turn_free"(Turn *turn) noexcept nogil
    # Does this thread hold it?
    bint turn_mine "t1_turn_mine"(Turn *turn) noexcept nogil
    uint32_t turn_waiting "t1_turn_waiting"(Turn *turn) noexcept nogil
    bint turn_working "t1_turn_working"(Turn *turn) noexcept nogil
    # Waits; the thread that holds it takes it once more at once.  -1 where it is given back by another.
    void turn_take "t1_turn_take"(Turn *turn) noexcept nogil
    int turn_give "t1_turn_give"(Turn *turn) noexcept nogil
    # Who holds it lets the workers that wait go on for a round each, and nobody else in.
    void turn_lend "t1_turn_lend"(Turn *turn) noexcept nogil
    # A worker is inside from turn_begin_work() to turn_end_work(), except in turn_let_in() and, where it sleeps, from
    # turn_leave() to turn_enter().
    void turn_begin_work "t1_turn_begin_work"(Turn *turn) noexcept nogil
    void turn_end_work "t1_turn_end_work"(Turn *turn) noexcept nogil
    void turn_let_in "t1_turn_let_in"(Turn *turn) noexcept nogil
    void turn_leave "t1_turn_leave"(Turn *turn) noexcept nogil
    void turn_enter "t1_turn_enter"(Turn *turn) noexcept nogil
