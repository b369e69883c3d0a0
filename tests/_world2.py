import os, time, sys, pathlib
from fixtures.hospital_network import hospital_network
from fixtures.server_machine import server_machine
from fixtures.provisioned_server import project_for
with hospital_network() as p, server_machine(p['admin']) as m:
    project_for(m)
    print('PID', os.getpid(), m.folder, m.root, flush=True)
    while True: time.sleep(1000)
