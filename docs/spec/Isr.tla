---------------------------- MODULE Isr ----------------------------
(* OmenDB shard replication: primary/backup with the in-sync set in (linearizable) metadata.
   Network may lose, duplicate, delay, reorder (messages stay in a set). Proposals to the metadata are
   in flight and CAS on ver. Crash loses volatile state. BUG selects a deliberate error ("none" = protocol).

   What keeps the model small enough to be searched whole, and loses no behaviour, because no action asks that something was
   NOT sent or did NOT arrive:
   - a primary sends whatever it can at once, and proposes every removal that it may at once: what is lost or late stays in the set;
   - an ACK arrives in the step that sends it: one that comes later, or never, only leaves Commit for later;
   - what nobody can take any more is forgotten: a message of a term below what all others promised, a proposal at an older
     version of the metadata, what a deposed or crashed primary knew of the others. *)
EXTENDS Naturals, Sequences, FiniteSets, TLC
CONSTANTS R, MaxTerm, MaxVer, MaxLen, MinISR, BUG, Reads
VARIABLES meta, view, log, promised, act, match, pend, commit, msgs, props, acked, lease, granted, since, rd, handed
vars == <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, lease, granted, since, rd, handed>>
(* Leases, when Reads. Time is not modelled but for what the protocol relies on: a guard that the metadata's leader
   waits is over no sooner than the lease that it knows of.
   lease[r]: "no", "ok" (granted after a quorum round, so the present leader of the metadata knows of it), or "stale" (granted by a
   deposed leader: only with the error lease_grant_unconfirmed). since[r]: the version of the metadata that came with it.
   granted: the nodes whose guard is not over. rd: one strong read: who, and
   "idle" -> "looked" (at the clock, under the lease) -> "good" or "bad" (invoked, and what it read) -> answered, or not.
   handed[r]: the version at which r proposed to hand over. A transfer waits for no guard, so r's lease is none until it knows. *)
Symmetry == Permutations(R)
None == "nobody"
Max(a, b) == IF a > b THEN a ELSE b
Min(a, b) == IF a < b THEN a ELSE b
TermAt(l, i) == IF i = 0 THEN 0 ELSE l[i]
Nothing == [q \in R |-> 0]
\* what r can send as primary of t with the log l, committed up to c
Sends(r, t, l, c) == {[t |-> t, from |-> r, i |-> i, e |-> l[i], pt |-> TermAt(l, i-1), c |-> c] : i \in 1..Len(l)}
\* of ms, what somebody may still take; pr: what was promised
Live(ms, pr) == IF BUG = "skip_promise" THEN ms ELSE {m \in ms : \E q \in R \ {m.from} : pr[q] <= m.t}
\* what the primary r may propose to drop
Removals(r, m) == IF Cardinality(m.isr) > MinISR THEN {[k |-> "rem", q |-> q, v |-> m.ver] : q \in m.isr \ {r}} ELSE {}

Init == \E p \in R :
  /\ meta = [pri |-> p, isr |-> R, term |-> 1, ver |-> 1]
  /\ view = [r \in R |-> [pri |-> p, isr |-> R, term |-> 1, ver |-> 1]]
  /\ log = [r \in R |-> <<>>] /\ promised = [r \in R |-> 1]
  /\ act = [r \in R |-> IF r = p THEN 1 ELSE 0]
  /\ match = [r \in R |-> [q \in R |-> 0]] /\ pend = [r \in R |-> {}]
  /\ commit = [r \in R |-> 0] /\ msgs = {} /\ acked = {}
  /\ props = Removals(p, [isr |-> R, ver |-> 1])
  /\ lease = [r \in R |-> "no"] /\ granted = {} /\ since = [r \in R |-> 0]
  /\ rd = [st |-> "idle", r |-> None] /\ handed = Nothing

\* r learns the newest metadata; may become primary of a new term, or step down
Learn(r) ==
  /\ view[r] # meta
  /\ view' = [view EXCEPT ![r] = meta]
  /\ handed' = [handed EXCEPT ![r] = 0]                             \* it knows what came of it
  /\ IF meta.pri = r /\ meta.term > promised[r] /\ Len(log[r]) < MaxLen
     THEN /\ promised' = [promised EXCEPT ![r] = meta.term]
          /\ act' = [act EXCEPT ![r] = meta.term]
          /\ log' = [log EXCEPT ![r] = Append(@, meta.term)]        \* TERM_START
          /\ match' = [match EXCEPT ![r] = Nothing]
          /\ pend' = [pend EXCEPT ![r] = {}]
     ELSE /\ act' = [act EXCEPT ![r] = IF meta.pri = r /\ meta.term = @ THEN @ ELSE 0]
          /\ pend' = [pend EXCEPT ![r] = IF act'[r] > 0 THEN @ \ meta.isr ELSE {}]
          /\ match' = [match EXCEPT ![r] = IF act'[r] > 0 THEN @ ELSE Nothing]
          /\ UNCHANGED <<promised, log>>
  /\ props' = props \cup IF act'[r] > 0 THEN Removals(r, meta) ELSE {}
  /\ msgs' = Live(msgs \cup IF act'[r] > 0 THEN Sends(r, act'[r], log'[r], commit[r]) ELSE {}, promised')
  /\ UNCHANGED <<meta, commit, acked, lease, granted, since, rd>>

Write(r) ==
  /\ act[r] > 0 /\ Len(log[r]) < MaxLen
  /\ log' = [log EXCEPT ![r] = Append(@, act[r])]
  /\ msgs' = Live(msgs \cup Sends(r, act[r], log'[r], commit[r]), promised)
  /\ UNCHANGED <<meta, view, promised, act, match, pend, commit, props, acked, lease, granted, since, rd, handed>>

RecvAppend(q, m) ==
  /\ q # m.from
  /\ (m.t >= promised[q] \/ BUG = "skip_promise")
  /\ Len(log[q]) >= m.i - 1 /\ TermAt(log[q], m.i - 1) = m.pt
  /\ promised' = [promised EXCEPT ![q] = Max(@, m.t)]
  /\ act' = [act EXCEPT ![q] = IF @ < m.t THEN 0 ELSE @]
  /\ pend' = [pend EXCEPT ![q] = IF act'[q] > 0 THEN @ ELSE {}]
  /\ log' = [log EXCEPT ![q] = IF Len(@) >= m.i /\ @[m.i] = m.e THEN @ ELSE Append(SubSeq(@, 1, m.i-1), m.e)]
  /\ commit' = [commit EXCEPT ![q] = Max(@, Min(m.c, m.i))]
  /\ match' = [r \in R |-> IF act'[r] = 0 THEN Nothing
                            ELSE IF r = m.from /\ act[r] = m.t THEN [match[r] EXCEPT ![q] = Max(@, m.i)]   \* the ACK
                            ELSE match[r]]
  /\ msgs' = Live(msgs, promised')
  /\ UNCHANGED <<meta, view, props, acked, lease, granted, since, rd, handed>>

Eff(r) == IF BUG = "shrink_early" THEN {q \in view[r].isr : ~\E x \in props : x.k = "rem" /\ x.q = q} \cup pend[r]
          ELSE IF BUG = "no_pending" THEN view[r].isr ELSE view[r].isr \cup pend[r]
Commit(r) ==
  /\ act[r] > 0 /\ Cardinality(view[r].isr) >= MinISR
  /\ \E i \in (commit[r]+1)..Len(log[r]) :
       /\ log[r][i] = act[r]
       /\ (BUG = "ack_early" \/ \A q \in Eff(r) : q = r \/ match[r][q] >= i)
       /\ commit' = [commit EXCEPT ![r] = i]
       /\ acked' = acked \cup {[i |-> j, e |-> log[r][j]] : j \in 1..i}
  /\ msgs' = Live(msgs \cup Sends(r, act[r], log[r], commit'[r]), promised)
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, props, lease, granted, since, rd, handed>>

AddPending(r, q) ==
  /\ act[r] > 0 /\ q \notin view[r].isr /\ q \notin pend[r]
  /\ pend' = [pend EXCEPT ![r] = @ \cup {q}]
  /\ UNCHANGED <<meta, view, log, promised, act, match, commit, msgs, props, acked, lease, granted, since, rd, handed>>
ProposeAdd(r, q) ==
  /\ act[r] > 0 /\ q \in pend[r] /\ match[r][q] >= commit[r] /\ match[r][q] > 0
  /\ log[r][match[r][q]] = act[r]
  /\ view[r].ver = meta.ver                   \* else it comes too late
  /\ props' = props \cup {[k |-> "add", q |-> q, v |-> view[r].ver]} /\ props' # props
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, acked, lease, granted, since, rd, handed>>
\* the primary hands over: it took nothing new, and q has everything. Without leases that is a Promote
ProposeTransfer(r, q) ==
  /\ Reads /\ act[r] > 0 /\ q \in view[r].isr \ {r} /\ view[r].ver = meta.ver
  /\ commit[r] = Len(log[r]) /\ match[r][q] = Len(log[r])
  /\ props' = props \cup {[k |-> "tra", q |-> q, v |-> view[r].ver]} /\ props' # props
  /\ handed' = [handed EXCEPT ![r] = view[r].ver]
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, acked, lease, granted, since, rd>>
ApplyTransfer(x) ==
  /\ x.k = "tra" /\ x.v = meta.ver /\ meta.ver < MaxVer /\ meta.term < MaxTerm
  /\ meta' = [meta EXCEPT !.pri = x.q, !.term = @ + 1, !.ver = @ + 1]
  /\ props' = {}
  /\ UNCHANGED <<view, log, promised, act, match, pend, commit, msgs, acked, lease, granted, since, rd, handed>>
ApplyProp(x) ==
  /\ x.k # "tra" /\ x.v = meta.ver /\ meta.ver < MaxVer
  /\ meta' = [meta EXCEPT !.isr = IF x.k = "add" THEN @ \cup {x.q} ELSE @ \ {x.q}, !.ver = @ + 1]
  /\ props' = {}                              \* all were at the version that was
  /\ UNCHANGED <<view, log, promised, act, match, pend, commit, msgs, acked, lease, granted, since, rd, handed>>
\* controller: any in-sync replica, new term, may drop the old primary
Promote(p) ==
  /\ meta.term < MaxTerm /\ meta.ver < MaxVer
  /\ (p \in meta.isr \/ BUG = "unclean")
  /\ (Reads => meta.pri \notin granted)       \* the old primary's guard is over, or it was restarted
  /\ \E s \in {meta.isr, meta.isr \ {meta.pri}} :
       /\ (p \in s \/ BUG = "unclean") /\ Cardinality(s) >= MinISR
       /\ meta' = [pri |-> p, isr |-> s \cup {p}, term |-> meta.term + 1, ver |-> meta.ver + 1]
  /\ props' = {}
  /\ UNCHANGED <<view, log, promised, act, match, pend, commit, msgs, acked, lease, granted, since, rd, handed>>
Crash(r) ==
  /\ act[r] > 0
  /\ act' = [act EXCEPT ![r] = IF BUG = "resume_same_term" THEN @ ELSE 0]
  /\ match' = [match EXCEPT ![r] = Nothing]
  /\ pend' = [pend EXCEPT ![r] = {}]
  /\ handed' = [handed EXCEPT ![r] = 0]
  /\ UNCHANGED <<meta, view, log, promised, commit, msgs, props, acked>>
  \* its next process has a newer boot generation: no lease, and the guard is void
  /\ lease' = [lease EXCEPT ![r] = "no"] /\ since' = [since EXCEPT ![r] = 0] /\ granted' = granted \ {r}
  /\ rd' = IF rd.r = r THEN [st |-> "idle", r |-> None] ELSE rd

\* ---- leases and strong reads ----
\* the leader of the metadata, confirmed by a quorum round
Grant(r) ==
  /\ Reads /\ ~(r \in granted /\ lease[r] = "ok" /\ since[r] = meta.ver)
  /\ lease' = [lease EXCEPT ![r] = "ok"] /\ granted' = granted \cup {r}
  /\ since' = [since EXCEPT ![r] = meta.ver]
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, rd, handed>>
\* a deposed leader that asked nobody: the present one knows nothing of it
GrantUnconfirmed(r) ==
  /\ Reads /\ BUG = "lease_grant_unconfirmed" /\ lease[r] = "no"
  /\ lease' = [lease EXCEPT ![r] = "stale"] /\ since' = [since EXCEPT ![r] = 1]
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, granted, rd, handed>>
Expire(r) ==
  /\ lease[r] # "no" /\ lease' = [lease EXCEPT ![r] = "no"] /\ since' = [since EXCEPT ![r] = 0]
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, granted, rd, handed>>
GuardOver(r) ==
  /\ r \in granted /\ lease[r] # "ok" /\ granted' = granted \ {r}
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, lease, since, rd, handed>>
\* a new leader of the metadata does not know who holds what, and waits a whole guard
NewLeader ==
  /\ Reads /\ granted # R /\ granted' = R
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, lease, since, rd, handed>>
\* a lease counts only for who knows the metadata as of its grant: else a deposed primary's node would hold one again
Held(r) == \/ BUG = "lease_ignore"
           \/ lease[r] # "no" /\ (view[r].ver >= since[r] \/ BUG = "lease_old_view")
                             /\ (view[r].ver # handed[r] \/ BUG = "lease_transfer")
Open(r) == act[r] > 0 /\ commit[r] > 0 /\ log[r][commit[r]] = act[r]
ReadLook(r) ==
  /\ Reads /\ rd.st = "idle" /\ Open(r) /\ Held(r)
  /\ rd' = [st |-> "looked", r |-> r]
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, lease, granted, since, handed>>
ReadInvoke ==
  /\ rd.st = "looked" /\ Open(rd.r)
  /\ rd' = [rd EXCEPT !.st = IF \A a \in acked : a.i <= commit[rd.r] THEN "good" ELSE "bad"]
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, lease, granted, since, handed>>
ReadEnd ==
  /\ rd.st \in {"good", "bad"} \/ (rd.st = "looked" /\ ~Open(rd.r))
  /\ rd' = IF rd.st = "bad" /\ Open(rd.r) /\ (Held(rd.r) \/ BUG = "lease_no_recheck")
           THEN [rd EXCEPT !.st = "answered"] ELSE [st |-> "idle", r |-> None]
  /\ UNCHANGED <<meta, view, log, promised, act, match, pend, commit, msgs, props, acked, lease, granted, since, handed>>

Next == \/ \E r \in R : Learn(r) \/ Write(r) \/ Commit(r) \/ Crash(r) \/ Promote(r)
        \/ \E r, q \in R : AddPending(r, q) \/ ProposeAdd(r, q) \/ ProposeTransfer(r, q)
        \/ \E q \in R, m \in msgs : RecvAppend(q, m)
        \/ \E x \in props : ApplyProp(x) \/ ApplyTransfer(x)
        \/ \E r \in R : Grant(r) \/ GrantUnconfirmed(r) \/ Expire(r) \/ GuardOver(r) \/ ReadLook(r)
        \/ NewLeader \/ ReadInvoke \/ ReadEnd
Spec == Init /\ [][Next]_vars
\* I2: every acknowledged entry is on every in-sync replica of the current metadata
AckedDurable == \A a \in acked : \A r \in meta.isr : Len(log[r]) >= a.i /\ log[r][a.i] = a.e
\* one value per acknowledged position
AckedUnique == \A a, b \in acked : a.i = b.i => a.e = b.e
\* I4, I7: what a copy knows as committed, and so applies, was committed, and was not cut off again
Applied == \A r \in R : \A i \in 1..commit[r] : Len(log[r]) >= i /\ [i |-> i, e |-> log[r][i]] \in acked
\* one acting primary per term
OnePrimary == \A r, q \in R : act[r] > 0 /\ act[r] = act[q] => r = q
\* I10: no strong read that began after an acknowledgement was answered without it
StrongReads == rd.st # "answered"
=====================================================================
