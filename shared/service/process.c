#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process.h"

/* What cannot be read is left out: no sample is better than a wrong one. */

static void read_cpu(struct metric_page *page)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_add(page, (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

/* The one that looks is not counted. */
static void read_open_fds(struct metric_page *page)
{
    DIR *directory = opendir("/proc/self/fd");
    struct stat status = {.st_size = 0};
    unsigned count = 0;
    if (directory == NULL)
        return;
    /* From Linux 6.2 on the kernel tells how many there are; before, they are counted, which takes a millisecond for every few thousand. */
    if (fstat(dirfd(directory), &status) == 0 && status.st_size > 0)
        count = (unsigned)status.st_size;
    for (struct dirent *entry; status.st_size == 0 && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    metric_add(page, count > 0 ? count - 1 : 0);
}

static void read_max_fds(struct metric_page *page)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metric_add(page, (double)limit.rlim_cur);
}

/* The whole of a file of /proc as text. Returns false if it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    size_t len = fread(text, 1, size - 1, file);
    fclose(file);
    text[len] = '\0';
    return len > 0;
}

/* When the machine began, in seconds since 1970; 0: not known. The line is behind one for each processor. */
static long long boot_time(void)
{
    char line[4096];
    long long seconds = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) && sscanf(line, "btime %lld", &seconds) != 1)
        ;
    fclose(file);
    return seconds;
}

/* Field 22 of stat; the second is a name in parentheses, which may hold anything. */
static void read_start_time(struct metric_page *page)
{
    char text[1024];
    unsigned long long ticks;
    long long boot = boot_time();
    if (boot == 0 || !read_text("/proc/self/stat", text, sizeof(text)))
        return;
    const char *rest = strrchr(text, ')');
    if (rest && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) == 1)
        metric_add(page, (double)boot + (double)ticks / (double)sysconf(_SC_CLK_TCK));
}

/* ${field} of statm, in pages: 0 is all that is mapped, 1 what is resident. */
static void add_memory(struct metric_page *page, int field)
{
    char text[256];
    unsigned long long pages[2];
    if (read_text("/proc/self/statm", text, sizeof(text)) && sscanf(text, "%llu %llu", &pages[0], &pages[1]) == 2)
        metric_add(page, (double)pages[field] * (double)sysconf(_SC_PAGESIZE));
}

static void read_virtual(struct metric_page *page)
{
    add_memory(page, 0);
}

static void read_resident(struct metric_page *page)
{
    add_memory(page, 1);
}

const struct metric_row PROCESS_METRICS[] = {
    {"process_cpu_seconds_total", METRIC_COUNTER, "", "CPU time, of the system and of the user.", read_cpu, 0},
    {"process_open_fds", METRIC_GAUGE, "", "Open file descriptors.", read_open_fds, 0},
    {"process_max_fds", METRIC_GAUGE, "", "How many there may be at most.", read_max_fds, 0},
    {"process_start_time_seconds", METRIC_GAUGE, "", "When the process began, in seconds since 1970.", read_start_time, 0},
    {"process_virtual_memory_bytes", METRIC_GAUGE, "", "Memory that is mapped.", read_virtual, 0},
    {"process_resident_memory_bytes", METRIC_GAUGE, "", "Memory that is resident.", read_resident, 0},
    {0},
};
