/* The least that a reader of a journal can do: seek to the beginning, and read one field of every entry.
 *
 *     loop FOLDER WORD...      prints how many entries hold one of the words
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <systemd/sd-journal.h>

int main(int count, char **words) {
    sd_journal *journal;
    unsigned long found = 0;

    if (count < 3 || sd_journal_open_directory(&journal, words[1], 0) < 0)
        return 1;
    SD_JOURNAL_FOREACH(journal) {
        const void *data;
        size_t length;

        if (sd_journal_get_data(journal, "MESSAGE", &data, &length) < 0)
            continue;
        for (int each = 2; each < count; each++)
            if (memmem(data, length, words[each], strlen(words[each]))) {
                found++;
                break;
            }
    }
    sd_journal_close(journal);
    printf("%lu\n", found);
    return 0;
}
