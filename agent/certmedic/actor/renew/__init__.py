"""Changes to certificate files: leaves are reissued in place or moved aside, and put back if that did not cure.

sign.py    reissue a leaf with the CA that signed it
aside.py   move a leaf away, so that etcd-manager issues a new one
allowed.py what a renewed certificate may hold
files.py   replace, keep and put back files
pen.py     all of it, for one machine
"""

from certmedic.actor.renew.files import RenewError, backup_path
from certmedic.actor.renew.pen import Pen
from certmedic.actor.renew.sign import renew, undo

__all__ = ["Pen", "RenewError", "backup_path", "renew", "undo"]
