---------------------------- MODULE Split ----------------------------
(* OmenDB: a shard is split while it is written to and read. The primary of the parent fills the copies of a child: they have its log,
   entry by entry. Intake stops, all of it is everywhere, the sums fit, CUT is proposed: a compare-and-set on the versions of the parent
   and of the child. From then until the outcome is known the parent's primary neither reads nor writes.

   Isr.tla is the replication of one shard. Here its sets do not change: each node has a copy of the parent, all in sync, and after
   the cut the child's set stays. What is looked at is who may answer for a key, and what of it is where. The two halves are alike
   and share nothing but the cut: so there is one child, and all keys are its.

   What keeps it small, and permits more than the protocol does:
   - no messages: who hears from a primary takes all that it has. What is late or lost is a Take that comes later, or never;
     one of a deposed primary comes at any time. Its ACK arrives where an Ack wants it;
   - anybody changes the child's set, gives the split up, and begins another, at any time, also between a CUT and its outcome;
   - the child's primary behind the cut is any copy in sync.

   A lease is a node's: while it holds nobody is promoted in its place. A cut waits for none. BUG selects a deliberate error. *)
EXTENDS Naturals, Sequences, FiniteSets, TLC
CONSTANTS N, MaxTerm, MaxVer, MaxLen, MaxOp, Rot, BUG
VARIABLES meta, view, log, prom, act, wrong, stop, cuts, acked, leased, bad
vars == <<meta, view, log, prom, act, wrong, stop, cuts, acked, leased, bad>>
(* meta: st "fill" (it is split), "open" (it is not: the split was given up), "cut" (the child answers); pri, term: of who answers;
   ver, cver: of the parent and of the child; isr: of the child.
   stop[n]: "no", "stop" (takes nothing new), "prop" (CUT is on its way). cuts: those that may still be applied.
   wrong[q]: the child's copy came out of a bad one: its log is right, and what it holds is not. acked: [place, entry]. *)
P == "p"
C == "c"
Symmetry == Permutations(N)
Start(t) == [t |-> t, o |-> 0]                     \* TERM_START
Ops(l) == {l[i].o : i \in 1..Len(l)} \ {0}
Has(l, a) == Len(l) >= a.i /\ l[a.i] = a.e
Answers(m) == IF m.st = "cut" THEN C ELSE P
Set(s, m) == IF s = P THEN N ELSE m.isr            \* who must have what is acknowledged

Init == \E p \in N :
  /\ meta = [st |-> "fill", pri |-> p, term |-> 1, ver |-> 1, isr |-> {}, cver |-> 1]
  /\ view = [n \in N |-> meta]
  /\ log = [s \in {P, C} |-> [n \in N |-> <<>>]]
  /\ prom = [s \in {P, C} |-> [n \in N |-> IF s = P THEN 1 ELSE 0]]
  /\ act = [s \in {P, C} |-> [n \in N |-> IF s = P /\ n = p THEN 1 ELSE 0]]
  /\ wrong = [n \in N |-> FALSE] /\ stop = [n \in N |-> "no"]
  /\ cuts = {} /\ acked = {} /\ leased = {} /\ bad = FALSE

\* n learns the newest metadata: it begins as primary, goes on, or is none any more. A parent that was cut retires
Learn(n) ==
  /\ view[n] # meta
  /\ LET s == Answers(meta)
         begins == meta.pri = n /\ meta.term > prom[s][n] /\ Len(log[s][n]) < MaxLen
         leads == IF begins THEN meta.term ELSE IF meta.pri = n /\ act[s][n] = meta.term THEN meta.term ELSE 0
         other == IF s = C /\ BUG = "split_no_retire" THEN act[P][n] ELSE 0
     IN /\ view' = [view EXCEPT ![n] = meta]
        /\ log' = IF begins THEN [log EXCEPT ![s][n] = Append(@, Start(meta.term))] ELSE log
        /\ prom' = IF begins THEN [prom EXCEPT ![s][n] = meta.term] ELSE prom
        /\ act' = [x \in {P, C} |-> [act[x] EXCEPT ![n] = IF x = s THEN leads ELSE other]]
        \* a CUT of older versions cannot succeed any more, or did
        /\ stop' = [stop EXCEPT ![n] = IF s = P /\ leads > 0 /\ ~begins /\ @ = "stop" THEN @ ELSE "no"]
  /\ UNCHANGED <<meta, wrong, cuts, acked, leased, bad>>

\* the copy of d on q hears from n, which leads f
Take(f, n, d, q) ==
  /\ act[f][n] > 0 /\ act[f][n] >= prom[d][q]
  /\ IF f = d THEN n # q
     ELSE f = P /\ view[n].st = "fill" /\ view[q].st # "cut" \* behind the cut a child's copy hears its own primary only
  /\ log[d][q] # log[f][n] \/ prom[d][q] # act[f][n]
  /\ log' = [log EXCEPT ![d][q] = log[f][n]]
  /\ prom' = [prom EXCEPT ![d][q] = act[f][n]]
  /\ act' = [act EXCEPT ![d][q] = 0]
  /\ stop' = IF d = P THEN [stop EXCEPT ![q] = "no"] ELSE stop
  /\ \E w \in {FALSE, Rot} :                         \* the first of it is a snapshot
       wrong' = IF d = C /\ prom[C][q] = 0 THEN [wrong EXCEPT ![q] = w] ELSE wrong
  /\ UNCHANGED <<meta, view, cuts, acked, leased, bad>>

\* an operation that the log has is done: what is known of them follows the log, into the child as well
Known(s, n) == IF s = C /\ BUG = "split_forget_ops"
               THEN {log[C][n][i].o : i \in {j \in 1..Len(log[C][n]) : log[C][n][j].t = act[C][n]}} ELSE Ops(log[s][n])
Write(s, n, o) ==
  /\ act[s][n] > 0 /\ Len(log[s][n]) < MaxLen /\ o \notin Known(s, n)
  /\ s = P => stop[n] = "no" \/ (stop[n] = "prop" /\ BUG = "split_write_on")
  /\ log' = [log EXCEPT ![s][n] = Append(@, [t |-> act[s][n], o |-> o])]
  /\ UNCHANGED <<meta, view, prom, act, wrong, stop, cuts, acked, leased, bad>>

\* committed is what is of its term and on all copies in sync, which have promised nobody newer
Ack(s, n) ==
  /\ act[s][n] > 0
  /\ \E i \in 1..Len(log[s][n]) :
       LET new == {[i |-> j, e |-> log[s][n][j]] : j \in 1..i}
       IN /\ log[s][n][i].t = act[s][n] /\ ~(new \subseteq acked)
          /\ \A q \in Set(s, view[n]) : prom[s][q] = act[s][n] /\ Has(log[s][q], [i |-> i, e |-> log[s][n][i]])
          /\ acked' = acked \cup new
  /\ UNCHANGED <<meta, view, log, prom, act, wrong, stop, cuts, leased, bad>>
Open(s, n) == act[s][n] > 0 /\ (act[s][n] = 1 \/ \E a \in acked : a.e = Start(act[s][n]))

\* ---- the parent's primary sees a split through ----
Stop(n) ==
  /\ Open(P, n) /\ view[n].st = "fill"
  /\ \/ stop[n] = "no" /\ view[n].isr # {} /\ stop' = [stop EXCEPT ![n] = "stop"]
     \/ stop[n] = "stop" /\ stop' = [stop EXCEPT ![n] = "no"]             \* it took too long
     \/ stop[n] = "prop" /\ BUG = "split_go_on" /\ stop' = [stop EXCEPT ![n] = "no"]
  /\ UNCHANGED <<meta, view, log, prom, act, wrong, cuts, acked, leased, bad>>
Whole(n) == \A q \in N : prom[P][q] = act[P][n] /\ log[P][q] = log[P][n]   \* all is committed
ProposeCut(n) ==
  /\ Open(P, n) /\ stop[n] = "stop" /\ view[n].isr # {} /\ view[n].st = "fill"
  /\ \/ BUG = "split_cut_early"
     \/ Whole(n) /\ \A q \in view[n].isr : prom[C][q] = act[P][n] /\ log[C][q] = log[P][n]
  /\ BUG = "split_no_sums" \/ \A q \in view[n].isr : ~wrong[q]              \* else it is given up
  /\ stop' = [stop EXCEPT ![n] = "prop"]
  /\ cuts' = cuts \cup {[v |-> view[n].ver, c |-> view[n].cver]}
  /\ UNCHANGED <<meta, view, log, prom, act, wrong, acked, leased, bad>>

\* ---- the metadata ----
Fits(x, m) == m.st = "fill" /\ (x.v = m.ver \/ BUG = "split_no_cas") /\ (x.c = m.cver \/ BUG = "split_no_child_cas")
\* those of older versions can never be applied, so they need not be kept
Kept(m) == IF BUG \in {"split_no_cas", "split_no_child_cas", "split_no_bump"} THEN cuts ELSE {x \in cuts : Fits(x, m)}
Becomes(m) == meta' = m /\ cuts' = Kept(m) /\ UNCHANGED <<view, stop, acked, leased, bad>>
\* whoever proposed it; a copy that was added may lag
Change(q) ==
  /\ meta.st = "fill" /\ meta.cver < MaxVer
  /\ Becomes([meta EXCEPT !.isr = IF q \in @ THEN @ \ {q} ELSE @ \cup {q}, !.cver = @ + 1])
  /\ UNCHANGED <<log, prom, act, wrong>>
ApplyCut(x) ==
  /\ Fits(x, meta) /\ meta.isr # {} /\ meta.term < MaxTerm
  /\ \E p \in meta.isr : Becomes([meta EXCEPT !.st = "cut", !.pri = p, !.term = @ + 1, !.ver = @ + 1, !.cver = @ + 1])
  /\ UNCHANGED <<log, prom, act, wrong>>
Bump(v) == IF BUG = "split_no_bump" THEN v ELSE v + 1
\* the child's copies are nobody's from then on
Abort ==
  /\ meta.st = "fill" /\ meta.ver < MaxVer
  /\ Becomes([meta EXCEPT !.st = "open", !.isr = {}, !.cver = 0, !.ver = Bump(@)])
  /\ log' = [log EXCEPT ![C] = [n \in N |-> <<>>]]
  /\ prom' = [prom EXCEPT ![C] = [n \in N |-> 0]] /\ act' = [act EXCEPT ![C] = [n \in N |-> 0]]
  /\ wrong' = [n \in N |-> FALSE]
Split ==
  /\ meta.st = "open" /\ meta.ver < MaxVer
  /\ Becomes([meta EXCEPT !.st = "fill", !.cver = 1, !.ver = Bump(@)])
  /\ UNCHANGED <<log, prom, act, wrong>>
\* another primary, once the lease of the one before is over
Promote(p) ==
  /\ meta.term < MaxTerm /\ meta.pri \notin leased /\ p \in Set(Answers(meta), meta)
  /\ Becomes([meta EXCEPT !.pri = p, !.term = @ + 1, !.ver = @ + 1])
  /\ UNCHANGED <<log, prom, act, wrong>>

\* its next process leads nothing until it is promoted anew
Crash(n) ==
  /\ act[P][n] + act[C][n] > 0
  /\ act' = [s \in {P, C} |-> [act[s] EXCEPT ![n] = 0]]
  /\ stop' = [stop EXCEPT ![n] = "no"] /\ leased' = leased \ {n}
  /\ UNCHANGED <<meta, view, log, prom, wrong, cuts, acked, bad>>

\* ---- strong reads ----
Grant(n) ==                          \* it counts for who knows the metadata as of then
  /\ n \notin leased /\ meta.pri = n /\ view[n] = meta /\ leased' = leased \cup {n}
  /\ UNCHANGED <<meta, view, log, prom, act, wrong, stop, cuts, acked, bad>>
Expire(n) ==
  /\ n \in leased /\ leased' = leased \ {n}
  /\ UNCHANGED <<meta, view, log, prom, act, wrong, stop, cuts, acked, bad>>
\* under the lease, or when all copies in sync confirmed that they have promised nobody newer
Read(s, n) ==
  /\ Open(s, n) /\ (s = P => stop[n] # "prop" \/ BUG = "split_read_on")
  /\ n \in leased \/ \A q \in Set(s, view[n]) : prom[s][q] = act[s][n]
  /\ \E a \in acked : ~Has(log[s][n], a)
  /\ bad' = TRUE
  /\ UNCHANGED <<meta, view, log, prom, act, wrong, stop, cuts, acked, leased>>

Next == \/ \E n \in N : Learn(n) \/ Crash(n) \/ Stop(n) \/ ProposeCut(n) \/ Promote(n) \/ Grant(n) \/ Expire(n) \/ Change(n)
        \/ \E s \in {P, C}, n \in N : Ack(s, n) \/ Read(s, n) \/ \E o \in 1..MaxOp : Write(s, n, o)
        \/ \E f, d \in {P, C}, n, q \in N : Take(f, n, d, q)
        \/ \E x \in cuts : ApplyCut(x)
        \/ Abort \/ Split
Spec == Init /\ [][Next]_vars
\* what was acknowledged is on every copy in sync of the shard that answers: nothing is lost in a cut, and nothing is said behind it
AckedDurable == \A a \in acked : \A q \in Set(Answers(meta), meta) : Has(log[Answers(meta)][q], a)
\* one value per place: the child goes on where its parent stopped
AckedUnique == \A a, b \in acked : a.i = b.i => a.e = b.e
\* an operation is done once, also where its answer was lost in the cut and it is sent again to the child
Once == \A a, b \in acked : a.e.o > 0 /\ a.e.o = b.e.o => a.i = b.i
\* no strong read misses what was acknowledged before it began
StrongReads == ~bad
\* what answers holds what its log says
Sound == meta.st = "cut" => \A q \in meta.isr : ~wrong[q]
=====================================================================
