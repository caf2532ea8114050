#!/usr/bin/env bash
# A real SLURM on one host: munged, slurmctld and a slurmd for each virtual node, everything in one folder.
#   slurm_lab.sh up FOLDER PORT [NODES=2]   PORT and the NODES after it must be free
#   slurm_lab.sh down FOLDER                ends the daemons, by their pid files
# Clients need SLURM_CONF=FOLDER/slurm.conf. The nodes' names do not resolve: MASTER_ADDR=127.0.0.1.
# Needs Debian's slurm-wlm, slurm-wlm-basic-plugins and munge; no systemd, nothing in /etc, any user.
set -euo pipefail
command=$1 lab=$(realpath -m "$2") port=${3:-} nodes=${4:-2}
export SLURM_CONF=$lab/slurm.conf

configure() {
    mkdir -p "$lab"/{state,log,run,munge,spool}
    chmod 711 "$lab/munge" # munged is strict about who may write there
    (umask 077 && head -c 1024 /dev/urandom >"$lab/munge/munge.key")
    cat >"$SLURM_CONF" <<CONF
ClusterName=lab
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$lab/munge/munge.sock
# Without cgroups, accounting and mail, which a container has not.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MailProg=/bin/true
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=1,batch_sched_delay=0,bf_interval=1
SlurmctldPidFile=$lab/run/slurmctld.pid
SlurmdPidFile=$lab/run/slurmd.%n.pid
SlurmctldLogFile=$lab/log/slurmctld.log
SlurmdLogFile=$lab/log/slurmd.%n.log
StateSaveLocation=$lab/state
SlurmdSpoolDir=$lab/spool/%n
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=15
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
CONF
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$lab/spool/n$i"
        echo "NodeName=n$i NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=2" >>"$SLURM_CONF"
    done
    cat >>"$SLURM_CONF" <<CONF
PartitionName=low Nodes=n[1-$nodes] Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=n[1-$nodes] PriorityTier=10 PreemptMode=OFF
CONF
    echo CgroupPlugin=cgroup/v1 >"$lab/cgroup.conf" # read, and never used
}

up() {
    configure
    /usr/sbin/munged --force --key-file="$lab/munge/munge.key" --socket="$lab/munge/munge.sock" \
        --pid-file="$lab/run/munged.pid" --log-file="$lab/log/munged.log" --seed-file="$lab/munge/munge.seed"
    /usr/sbin/slurmctld
    for ((i = 1; i <= nodes; i++)); do
        /usr/sbin/slurmd -N "n$i"
    done
    for _ in {1..100}; do
        if [ "$(sinfo --noheader --partition=low --Node --states=idle 2>&1 | grep -c "^n")" = "$nodes" ]; then
            return
        fi
        sleep 0.2
    done
    tail -n 20 "$lab"/log/*.log >&2
    return 1
}

down() {
    pids=$(cat "$lab"/run/*.pid 2>/dev/null || true)
    for order in TERM KILL; do
        for pid in $pids; do
            kill -"$order" "$pid" 2>/dev/null || true
        done
        for _ in {1..50}; do
            alive=$(for pid in $pids; do kill -0 "$pid" 2>/dev/null && echo "$pid"; done || true)
            [ -n "$alive" ] || return 0
            sleep 0.1
        done
    done
}

"$command"
