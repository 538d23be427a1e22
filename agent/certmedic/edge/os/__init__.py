"""The shared floor of the edge: one way to run a program, to read a file and to speak to a server, each within bounds.

run.py       a child process
spawn.py     a reader process, and the connections to it
owners.py    who may change a file
readfile.py  a small regular file
network.py   the network that listeners and members are reached over
http.py      one HTTP request and its reply
docker.py    Docker's socket
"""
