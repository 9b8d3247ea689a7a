#!/usr/bin/env bash
# Table 1 on a SLURM cluster, a task a cell, each with three seeds: `sbatch docs/slurm.sh` in the repository's folder,
# after `./reproduce.sh` and the download of the data were done once where there is a network. A task that is stopped
# goes on where it was when the same command is given again; tasks that share runs/ never train the same run twice.
#SBATCH --job-name=dlt-table1
#SBATCH --array=0-38%8
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --output=slurm-%A_%a.log
set -euo pipefail

methods=(ce apl sce m-correction dividemix dlt-last-epoch dlt-window) # and your own: my_method:Mine
noises=(symmetric0.2 symmetric0.4 symmetric0.6 asymmetric0.2 asymmetric0.3 asymmetric0.4)

cells=()
for method in "${methods[@]}"; do
    for noise in "${noises[@]}"; do
        [[ $method == m-correction && $noise == asymmetric* ]] || cells+=("$method $noise")
    done
done
read -r method noise <<<"${cells[$SLURM_ARRAY_TASK_ID]}"

# The budget ends before SLURM's time does, so that the last epochs are saved.
cd "$SLURM_SUBMIT_DIR"
./reproduce.sh table1 --profile short --device cuda --methods "$method" --noise "$noise" --seeds 3 \
    --no-shipped --time-budget 3.9h --output "runs/cells/$method-$noise"
