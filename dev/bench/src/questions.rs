//! What is asked, made ready before the first query is sent: messages in one allocation, and what a right answer is.

use std::net::Ipv4Addr;
use std::rc::Rc;

/// Type numbers that the works ask for.
pub(crate) const A: u16 = 1;
/// See above.
pub(crate) const SRV: u16 = 33;
/// See above.
pub(crate) const DNSKEY: u16 = 48;
/// Response codes of right answers.
pub(crate) const NO_ERROR: u8 = 0;
/// See above.
pub(crate) const NX_DOMAIN: u8 = 3;
/// See above.
pub(crate) const REFUSED: u8 = 5;

/// Octets of a message's header.
const HEADER: usize = 12;

/// One question with EDNS, to be made into octets.
#[derive(Clone, Debug)]
pub(crate) struct Question<'q> {
    /// As text, the final dot optional.
    pub(crate) name: &'q str,
    pub(crate) rtype: u16,
    /// The client asks for signatures.
    pub(crate) dnssec: bool,
    /// EDNS client subnet, a /24.
    pub(crate) subnet: Option<Ipv4Addr>,
    /// Client and server cookie, or the client's alone.
    pub(crate) cookie: &'q [u8],
}

impl<'q> Question<'q> {
    /// EDNS with 1232 octets and nothing else.
    pub(crate) fn new(name: &'q str, rtype: u16) -> Self {
        Self {
            name,
            rtype,
            dnssec: false,
            subnet: None,
            cookie: &[],
        }
    }

    /// The message, with id 0.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in self.name.split('.').filter(|label| !label.is_empty()) {
            message.push(label.len() as u8);
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(self.rtype.to_be_bytes());
        message.extend([0, 1]);
        let mut options = Vec::new();
        if !self.cookie.is_empty() {
            options.extend([0, 10, 0, self.cookie.len() as u8]);
            options.extend(self.cookie);
        }
        if let Some(subnet) = self.subnet {
            let [a, b, c, _] = subnet.octets();
            options.extend([0, 8, 0, 7, 0, 1, 24, 0, a, b, c]);
        }
        let flags = if self.dnssec { 0x80 } else { 0 };
        message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, flags, 0]); // OPT, 1232 octets
        message.extend((options.len() as u16).to_be_bytes());
        message.extend(options);
        message
    }
}

/// Looks at a whole answer.
pub(crate) trait Oracle {
    /// Says what is wrong with the answer to this question, by its number.
    fn judge(&self, question: usize, answer: &[u8]) -> Result<(), String>;
}

/// All questions of a work, and what every answer has in common. Cheap to copy.
#[derive(Clone)]
pub(crate) struct Questions {
    octets: Rc<Vec<u8>>,
    ends: Rc<Vec<u32>>,
    /// Response code of every right answer.
    pub(crate) rcode: u8,
    /// Records in the answer section of every right answer.
    pub(crate) answers: u16,
    oracle: Option<Rc<dyn Oracle>>,
}

impl Questions {
    /// None yet; without an oracle, until one is set, answers are judged by their header and question.
    pub(crate) fn new(rcode: u8, answers: u16) -> Self {
        Self {
            octets: Rc::default(),
            ends: Rc::default(),
            rcode,
            answers,
            oracle: None,
        }
    }

    /// With somebody who looks at whole answers.
    pub(crate) fn judged_by(self, oracle: impl Oracle + 'static) -> Self {
        Self {
            oracle: Some(Rc::new(oracle)),
            ..self
        }
    }

    /// The same, judged by header and question only.
    pub(crate) fn unjudged(&self) -> Self {
        Self {
            oracle: None,
            ..self.clone()
        }
    }

    pub(crate) fn push(&mut self, question: &Question<'_>) {
        let octets = Rc::make_mut(&mut self.octets);
        octets.extend(question.message());
        Rc::make_mut(&mut self.ends).push(octets.len() as u32);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A message by its number, which is below `len`.
    pub(crate) fn message(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.octets[start as usize..self.ends[number] as usize]
    }

    /// True if header and question of an answer are right; its id is somebody else's business.
    pub(crate) fn fits(&self, number: usize, answer: &[u8]) -> bool {
        let asked = question_section(self.message(number));
        let [_, _, flags, code, _, 1, many, few, ..] = answer else {
            return false;
        };
        // An answer, not truncated.
        flags & 0x82 == 0x80
            && code & 0xf == self.rcode
            && u16::from_be_bytes([*many, *few]) == self.answers
            && answer.get(HEADER..HEADER + asked.len()) == Some(asked)
    }

    /// Looks at a whole answer.
    pub(crate) fn judge(&self, number: usize, answer: &[u8]) -> Result<(), String> {
        match &self.oracle {
            Some(oracle) => oracle.judge(number, answer),
            None => Ok(()),
        }
    }
}

/// Name, type and class of a message of ours.
fn question_section(message: &[u8]) -> &[u8] {
    let mut end = HEADER;
    while let Some(length @ 1..) = message.get(end) {
        end += 1 + usize::from(*length);
    }
    message.get(HEADER..end + 5).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;

    use super::*;

    #[test]
    fn an_independent_decoder_reads_the_question() {
        let question = Question {
            dnssec: true,
            subnet: Some(Ipv4Addr::new(192, 0, 2, 0)),
            cookie: b"12345678",
            ..Question::new("_rtsp._tcp.s1.media.test", SRV)
        };
        let message = Message::from_vec(&question.message()).unwrap();
        let text = message.queries[0].to_string();
        assert_eq!(text, "_rtsp._tcp.s1.media.test. IN SRV");
        let edns = message.edns.unwrap();
        assert!(edns.flags().dnssec_ok);
        assert_eq!(edns.options().as_ref().len(), 2);
    }

    #[test]
    fn an_answer_to_another_question_or_of_another_kind_does_not_fit() {
        let mut questions = Questions::new(NO_ERROR, 1);
        questions.push(&Question::new("a.test", A));
        questions.push(&Question::new("b.test", A));
        let mut answer = questions.message(1).to_vec();
        assert!(!questions.fits(1, &answer), "a query");
        (answer[2], answer[7]) = (0x84, 1);
        assert!(questions.fits(1, &answer) && !questions.fits(0, &answer));
        for (at, wrong) in [(2, 0x86), (3, 3), (7, 2), (5, 0)] {
            let mut other = answer.clone();
            other[at] = wrong;
            assert!(!questions.fits(1, &other), "octet {at}");
        }
        assert!(!questions.fits(1, &answer[..HEADER]) && !questions.fits(1, &[]));
    }
}
