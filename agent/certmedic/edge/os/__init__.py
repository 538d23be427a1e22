"""The shared floor of the edge: one way to run a program, to open a file, and to speak to a server, each within bounds.

run.py       a child process
readfile.py  a small regular file, and who may change it
http.py      one request, and its reply
docker.py    Docker's socket
"""
