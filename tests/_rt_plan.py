import sys,time; sys.path[:0]=["plugins","tests"]
from benchmarks import routing_ledger as b
import sqlalchemy as sa
from sqlalchemy import event
kind=sys.argv[1]; rows=int(sys.argv[2])
with b._filled(kind, rows) as db:
    print("filled", flush=True)
    ov=b.Overview(db)
    seen=[]
    with db.session() as s: eng=s.get_bind()
    def before(conn,cur,st,pa,ctx,many):
        if st.startswith("SELECT"): seen.append((st,pa))
    event.listen(eng if not hasattr(eng,"engine") else eng.engine,"before_cursor_execute",before)
    ov.targets()
    for name,ask in b._questions(ov,rows).items():
        seen.clear(); t=time.perf_counter(); ask(); took=(time.perf_counter()-t)*1e3
        print(name, round(took,1), flush=True)
        if took>3:
            for st,pa in list(seen):
                with db.session() as s:
                    c=s.connection()
                    t=time.perf_counter(); c.exec_driver_sql(st,pa).all(); one=(time.perf_counter()-t)*1e3
                    if one>2:
                        print("   ", round(one,1), " ".join(st.split())[:230])
                        pre="EXPLAIN QUERY PLAN " if kind=="sqlite" else "EXPLAIN "
                        for r in c.exec_driver_sql(pre+st,pa).all(): print("       ", r[-1])
